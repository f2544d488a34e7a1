"""What handing out, reading and judging the runs of a study costs, without training any. Prints a table, writes JSON.

    python benchmarks/scheduling.py

Studies of 5, 10, 20 and 40 arms, 20 seeds each, whose runs are records of random losses that no rule decides: every run
is handed out, read once, added to the evidence and judged. Writes results/scheduling.json.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import record

import paribus as pb
from paribus.experiment.extra_runs import plan_extra_runs
from paribus.experiment.plan import Environment, plan
from paribus.experiment.registering import register
from paribus.experiment.scheduler import Scheduler
from paribus.experiment.stored_evidence import read_evidence
from paribus.store.records import Record
from paribus.store.store import Store

SEEDS = 20
ARMS = (5, 10, 20, 40)


class Part:
    def __init__(self, width: int = 1):
        pass


class Optimizer:
    def __init__(self, params: Any, lr: float = 0.1):
        pass


def main() -> None:
    rows = [measure(n_arms) for n_arms in ARMS]
    record.save("scheduling", {**record.describe_machine("numpy"), "seeds": SEEDS, "rows": rows})
    columns = ("arms", "runs", "records read", "seconds", "ms per run")
    cells = [(r["arms"], r["runs"], r["records_read"], f"{r['seconds']:.2f}", f"{r['ms_per_run']:.2f}") for r in rows]
    record.print_table("Handing out and judging the runs of one study", columns, cells)


def measure(n_arms: int) -> dict[str, Any]:
    """Seconds of the scheduler alone, for a study of ``n_arms`` arms, the baseline one of them."""
    study = pb.Study(
        question="Which width?",
        baseline=pb.spec(Part),
        treatments={f"width {i}": pb.spec(Part, width=i) for i in range(2, n_arms + 1)},
        data=pb.spec(Part),
        training=pb.Training(tokens=1000, batch_tokens=100, seq_len=10, optimizer=pb.spec(Optimizer), evaluations=1),
        margin=1e-6,
        max_seeds=SEEDS,
        give_up=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = CountingStore(Path(Store.create(Path(folder) / "store").address))
        planned = plan(study, Environment("data", "cpu", "2"))
        registration = register(store, "widths", planned, {}, "e", extra_runs=plan_extra_runs(planned))
        losses = random.Random(0)
        store.reads.clear()
        began = time.perf_counter()
        scheduler = Scheduler(store, planned, read_evidence(store, registration.name), None, ignore)
        writing = 0.0
        while job := scheduler.next_job():
            start = time.perf_counter()
            store.write_record(Record(job.digest, job.seed, "done", {"val_loss": losses.gauss(3.0, 0.1)}))
            writing += time.perf_counter() - start
            scheduler.observe({"event": "finished", "digest": job.digest, "status": "done"})
        seconds = time.perf_counter() - began - writing
    runs = n_arms * SEEDS
    return {
        "arms": n_arms,
        "runs": runs,
        "records_read": len(store.reads),
        "seconds": seconds,
        "ms_per_run": 1000 * seconds / runs,
    }


class CountingStore(Store):
    """A store that keeps the digest of every record that is read."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        object.__setattr__(self, "reads", [])

    def read_record(self, digest: str) -> Record:
        self.reads.append(digest)
        return super().read_record(digest)


ignore: Callable[[Mapping[str, Any]], None] = lambda event: None  # noqa: E731


if __name__ == "__main__":
    main()
