"""Which run comes next, while runs finish in any order and verdicts fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.execution.worker import Job
from paribus.judgement import decide, pairs_wanted
from paribus.judgement.comparison import Comparison
from paribus.records import Finding, Store
from paribus.registration import compare_records, read_records
from paribus.runs import Plan, Run
from paribus.study import Arm

Observe = Callable[[Mapping[str, Any]], None]


class Campaign:
    """The runs of one study: hands out the next job, reads what finished, stops when every treatment is decided.

    ``observe`` is told ``started``, ``progress``, ``finished`` and ``stopped`` with arm, seed and number of steps, and
    ``judged`` with a row per treatment and contrast.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        registration: Mapping[str, Any],
        study_file: Path | None,
        findings: Sequence[Finding],
        observe: Observe,
    ):
        self.store, self.plan, self.registration, self.tell = store, plan, registration, observe
        self.study_file, self.findings = study_file, findings
        self.runs: dict[str, list[Run]] = {}  # a treatment may be the baseline over again, and share its runs
        for run in plan:
            self.runs.setdefault(run.digest, []).append(run)
        self.running: set[str] = set()
        self._forget_failures()
        self._judge()

    def next_job(self) -> Job | None:
        """The next missing run: first those of the next pair, then ahead of time for treatments still open."""
        for place, seed in enumerate(self.plan.seeds):
            for arm in (name for name, end in self.ends.items() if place < end):
                run = self.plan.run(arm, seed)
                if run.digest not in self.finished and run.digest not in self.running:
                    self.running.add(run.digest)
                    return make_job(self.store, self.plan, run, self.plan.study.arms[arm], self.study_file)
        return None

    def observe(self, event: Mapping[str, Any]) -> None:
        """Take an event of the executor, pass it on with its arm and seed, and judge when a run is finished."""
        run = self.runs[event["digest"]][0]
        self.tell({**event, "arm": run.arm, "seed": run.seed, "steps": self.plan.study.arms[run.arm].training.steps})
        if event["event"] in ("finished", "stopped"):
            self.running.discard(run.digest)
        if event["event"] == "finished":
            self._judge()

    def wanted(self, digest: str) -> bool:
        """Whether a running run can still matter."""
        return any(run.arm in self.ends for run in self.runs[digest])

    def _forget_failures(self) -> None:
        """A failure says nothing about the arm: what an earlier call saw fail is tried again."""
        for of_arm in read_records(self.store, self.registration).values():
            for record in of_arm.values():
                if record.status == "failed":
                    (self.store.run_folder(record.digest) / "result.json").unlink()

    def _judge(self) -> None:
        """Find ``finished``, and in ``ends`` how many seeds each arm that is still needed may run to.

        The arms of a primary comparison may run ahead of its verdict, up to the last pair; none runs past a failure.
        """
        records = read_records(self.store, self.registration)
        comparisons = compare_records(self.registration, records)
        wanted = pairs_wanted(comparisons, self.findings)
        self.finished = {record.digest for of_arm in records.values() for record in of_arm.values()}
        self.ends: dict[str, int] = {}
        for name, comparison in comparisons.items():
            failed = [seed for arm in comparison.arms for seed, r in records[arm].items() if r.status == "failed"]
            end = min([*failed, self.plan.seeds.stop]) - self.plan.seeds.start
            if comparison.n_pairs < min(wanted[name], end):
                needed = end if comparison.primary else min(wanted[name], end)
                for arm in comparison.arms:
                    self.ends[arm] = max(needed, self.ends.get(arm, 0))
        self.tell({"event": "judged", "rows": summarize(comparisons, self.findings)})


def make_job(store: Store, plan: Plan, run: Run, arm: Arm, study_file: Path | None) -> Job:
    """What a worker is sent to do ``run``, a run of ``arm``.

    Of the study's own runs those of the first seed keep their weights; a run beside the pairs keeps none.
    """
    own = [plan.run(name, plan.study.first_seed).digest for name in plan.study.arms]
    return Job(
        digest=run.digest,
        seed=run.seed,
        model=arm.model.to_json(),
        training=arm.training.to_json(),
        data=plan.study.data.to_json(),
        identity=run.identity,
        store=str(store.folder.resolve()),
        device=plan.environment.device,
        study_file=str(study_file.resolve()) if study_file else None,
        nudged=run.identity.get("nudged", False),
        keeps_weights=run.digest in own,
        metric=plan.study.metric.to_json() if plan.study.metric.measure else None,
    )


def summarize(comparisons: Mapping[str, Comparison], findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A row per treatment and contrast: its pairs so far, mean, interval, and its verdict once it has one."""
    rows = []
    for name, comparison in comparisons.items():
        verdict = decide(comparison, findings) if comparison.primary else None
        rows.append(
            {
                "treatment": name,
                "primary": comparison.primary,
                "pairs": comparison.n_pairs,
                "mean": comparison.mean,
                "interval": comparison.interval,
                "verdict": verdict.kind if verdict else None,
                **({"contrast": True} if comparison.contrast else {}),
            }
        )
    return rows
