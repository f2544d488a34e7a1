"""Runs that stand beside the pairs: at other learning rates, of nudged copies, of other widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.experiment.job import Execute, Job, make_job
from paribus.experiment.plan import Plan, Trial
from paribus.store.events import Observe
from paribus.store.records import Record
from paribus.store.store import Store


def run_trials(
    trials: Sequence[Trial],
    *,
    store: Store,
    plan: Plan,
    study_file: Path | None,
    execute: Execute,
    observe: Observe,
) -> dict[str, Record]:
    """Run those of ``trials`` that are missing, in order, and those that failed before; all records by digest."""
    by_digest = {trial.run.digest: trial for trial in trials}
    for digest in by_digest:
        if store.is_done(digest) and store.read_record(digest).status == "failed":
            (store.run_folder(digest) / "result.json").unlink()
    waiting = [trial for digest, trial in by_digest.items() if not store.is_done(digest)]

    def next_job() -> Job | None:
        if not waiting:
            return None
        trial = waiting.pop(0)
        return make_job(store, plan, trial.run, trial.arm, study_file)

    def pass_on(event: Mapping[str, Any]) -> None:
        trial = by_digest[event["digest"]]
        steps = trial.arm.training.steps
        observe({**event, "arm": trial.run.arm, "seed": trial.run.seed, "steps": steps})

    execute(next_job, pass_on, lambda digest: True)
    return {digest: store.read_record(digest) for digest in by_digest}


def read_trials(store: Store, registration: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The registered trials that have been run, each with its ``status``, ``value`` of the metric, and parameters."""
    key = registration["study"]["metric"]["key"]
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, rows in registration.get("trials", {}).items():
        for row in rows:
            if store.is_done(row["digest"]):
                record = store.read_record(row["digest"])
                outcome = {"status": record.status, "value": record.metrics.get(key)}
                sizes = {"parameters": record.metrics["parameters"]} if record.status == "done" else {}
                found.setdefault(kind, []).append({**row, **outcome, **sizes})
    return found
