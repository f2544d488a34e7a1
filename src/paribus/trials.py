"""Runs that stand beside the pairs: at other learning rates, of nudged copies, of other widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paribus.campaign import Observe, make_job
from paribus.execution.worker import Job
from paribus.records import Record, Store
from paribus.runs import Plan, Run
from paribus.study import BASELINE, Arm
from paribus.tuning import LEARNING_RATE, arms_without_rates, set_hyperparameters

NULL_PAIRS = 5
"""Pairs of the baseline and its nudged copy, on the first seeds of the study."""

WIDTHS = (0.75, 1.25)
"""What the baseline's width is multiplied by for its response."""

Execute = Callable[[Callable[[], Job | None], Observe, Callable[[str], bool]], None]
"""An executor: asks for jobs, tells what happens, asks whether a run is still wanted."""


@dataclass(frozen=True)
class Trial:
    """One run beside the pairs; ``about`` says in what it differs from the arm it stands for."""

    run: Run
    arm: Arm
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What a registration says of it; ``unmeasured`` is its digest without a metric of the user's own."""
        unmeasured = self.run.unmeasured.digest
        told = {"unmeasured": unmeasured} if unmeasured != self.run.digest else {}
        return {"seed": self.run.seed, "digest": self.run.digest, **told, **self.about}


def plan_trials(plan: Plan) -> dict[str, tuple[Trial, ...]]:
    """The trials of a study, by what they are for; planned is not run.

    ``rates``: one pair at each factor of ``rate_probe``. ``null``: the baseline with nudged weights.
    ``widths``: the baseline narrower and wider, where ``width_response`` asks for it.
    """
    return {
        "rates": tuple(_plan_rates(plan)),
        "null": tuple(
            Trial(
                plan.trial("baseline, nudged", plan.study.arms[BASELINE], seed, nudged=True), plan.study.arms[BASELINE]
            )
            for seed in plan.seeds[:NULL_PAIRS]
        ),
        "widths": tuple(_plan_widths(plan)),
    }


def is_asked_for(
    kind: str, about: Mapping[str, Any], verdicts: Mapping[str, str | None], unprobed: Sequence[str]
) -> bool:
    """Whether a trial has something to say: at another rate where a verdict could turn, at another width once all fell.

    ``verdicts`` are the kinds of all, None where one has none yet; ``unprobed`` those that no rate can turn.
    """
    firm = {name for name, verdict in verdicts.items() if verdict in ("better", "worse", "equivalent")}
    if kind == "rates":
        turnable = firm.difference(unprobed)
        return bool(turnable) and about["arm"] in {BASELINE, *turnable}
    if kind == "widths":
        return bool(firm) and None not in verdicts.values()
    return True


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


def _plan_rates(plan: Plan) -> list[Trial]:
    study = plan.study
    if study.tuning or arms_without_rates(study.arms):
        return []
    trials = []
    for factor in study.rate_probe:
        for name in (BASELINE, *study.primary):
            arm = study.arms[name]
            arm = arm.replace(training=set_hyperparameters(arm.training, {LEARNING_RATE: factor}))
            run = plan.trial(f"{name} at {factor:g} x the rate", arm, study.first_seed)
            trials.append(Trial(run, arm, {"arm": name, "factor": factor}))
    return trials


def _plan_widths(plan: Plan) -> list[Trial]:
    study = plan.study
    if study.width_response is None:
        return []
    baseline, (width,) = study.arms[BASELINE], study.response_widths
    trials = []
    for wide in sorted({max(1, round(factor * width)) for factor in WIDTHS} - {width}):
        arm = baseline.replace(model=baseline.model.replace(study.width_response, wide))
        for seed in plan.seeds[: study.min_seeds]:
            run = plan.trial(f"baseline, width {wide}", arm, seed)
            trials.append(Trial(run, arm, {"width": wide}))
    return trials
