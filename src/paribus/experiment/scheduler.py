"""Which run comes next, while runs finish in any order and verdicts fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.experiment.comparisons import compare_records, read_records, summarize
from paribus.experiment.job import Job, make_job
from paribus.experiment.plan import Plan, Run
from paribus.judgement import pairs_wanted
from paribus.store.events import Observe
from paribus.store.records import Finding
from paribus.store.store import Store


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
