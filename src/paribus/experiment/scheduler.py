"""Which run comes next, while runs finish in any order and verdicts fall."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paribus.experiment.job import Job, make_job
from paribus.experiment.plan import Plan, Run
from paribus.judgement import Evidence, decide_all
from paribus.store.events import Observe
from paribus.store.store import Store


class Scheduler:
    """The runs of one study: hands out the next job, adds what finished to the evidence, stops when all is decided.

    ``observe`` is called with ``started``, ``progress``, ``finished`` and ``stopped`` with arm, seed and number of
    steps, and with ``judged`` with a row per treatment and contrast.
    """

    def __init__(self, store: Store, plan: Plan, evidence: Evidence, study_file: Path | None, observe: Observe):
        self.store, self.plan, self.study_file, self.pass_on = store, plan, study_file, observe
        self.runs: dict[str, list[Run]] = {}  # a treatment may be the baseline over again, and share its runs
        for run in plan:
            self.runs.setdefault(run.digest, []).append(run)
        self.taken = evidence.finished  # digests of what is finished or running
        self.places = dict.fromkeys(plan.study.arms, 0)  # per arm, how many of its first runs are all taken
        self.judged = decide_all(evidence)
        self._look_ahead()

    @property
    def evidence(self) -> Evidence:
        return self.judged.evidence

    def next_job(self) -> Job | None:
        """The next missing run: first those of the next pair, then ahead of time for treatments still open."""
        waiting = [(self._next_place(arm), arm) for arm in self.ends]
        waiting = [(place, arm) for place, arm in waiting if place < self.ends[arm]]
        if not waiting:
            return None
        place, arm = min(waiting, key=lambda entry: entry[0])  # of equal ones the first arm
        run = self.plan.runs[arm][place]
        self.taken.add(run.digest)
        return make_job(self.store, self.plan, run, self.plan.study.arms[arm], self.study_file)

    def observe(self, event: Mapping[str, Any]) -> None:
        """Take an event of the executor, pass it on with its arm and seed, and judge when a run is finished."""
        run = self.runs[event["digest"]][0]
        self.pass_on({**event, "arm": run.arm, "seed": run.seed, "steps": self.plan.study.arms[run.arm].training.steps})
        if event["event"] == "stopped":
            self._give_back(run.digest)
        if event["event"] == "finished":
            evidence = self.evidence.add(self.store.read_record(run.digest))
            self.judged = decide_all(evidence, self.judged)
            self._look_ahead()

    def wanted(self, digest: str) -> bool:
        """Whether a running run can still matter."""
        return any(run.arm in self.ends for run in self.runs[digest])

    def _next_place(self, arm: str) -> int:
        runs = self.plan.runs[arm]
        while self.places[arm] < len(runs) and runs[self.places[arm]].digest in self.taken:
            self.places[arm] += 1
        return self.places[arm]

    def _give_back(self, digest: str) -> None:
        self.taken.discard(digest)
        for run in self.runs[digest]:
            self.places[run.arm] = min(self.places[run.arm], run.seed - self.plan.seeds.start)

    def _look_ahead(self) -> None:
        """Set ``ends``: how many seeds each arm that is still needed may run to.

        The arms of a primary comparison may run ahead of its verdict, up to the last pair; none runs past a failure.
        """
        wanted, records = self.judged.wanted_pairs, self.evidence.records
        self.ends: dict[str, int] = {}
        for name, comparison in self.judged.comparisons.items():
            failed = [seed for arm in comparison.arms for seed, r in records[arm].items() if r.status == "failed"]
            end = min([*failed, self.plan.seeds.stop]) - self.plan.seeds.start
            if comparison.n_pairs < min(wanted[name], end):
                needed = end if comparison.primary else min(wanted[name], end)
                for arm in comparison.arms:
                    self.ends[arm] = max(needed, self.ends.get(arm, 0))
        self.pass_on({"event": "judged", "rows": self.judged.progress})
