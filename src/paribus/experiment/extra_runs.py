"""Runs outside the pairs: at other learning rates, of other widths, and of a perturbed copy of the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paribus.design.study import BASELINE, Arm, arms_without_rates
from paribus.design.tuning import LEARNING_RATE, set_hyperparameters
from paribus.experiment.executor import Executor
from paribus.experiment.job import Job, make_job
from paribus.experiment.plan import Plan, Run, identify_run
from paribus.judgement import Judged
from paribus.judgement.registration import RegisteredRun
from paribus.store.events import Observe
from paribus.store.records import Record
from paribus.store.store import Store

NULL_PAIRS = 5
"""Pairs of the baseline and its perturbed copy, on the first seeds of the study."""

WIDTHS = (0.75, 1.25)
"""What the baseline's width is multiplied by for its response."""


@dataclass(frozen=True)
class ExtraRun:
    """One run outside the pairs; ``about`` says in what it differs from the arm it stands for."""

    run: Run
    arm: Arm
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def registered(self) -> RegisteredRun:
        """What a registration says of it."""
        unmeasured = self.run.training_digest if self.run.training_digest != self.run.digest else None
        return RegisteredRun(self.run.seed, self.run.digest, unmeasured, **self.about)


def plan_extra_runs(plan: Plan) -> dict[str, tuple[ExtraRun, ...]]:
    """The extra runs of a study, by what they are for; planned is not run.

    ``rates``: one pair at each factor of ``extra_rates``. ``null``: the baseline with perturbed initial weights.
    ``widths``: the baseline narrower and wider, where ``width_response`` asks for it.
    """
    return {"rates": tuple(_plan_rates(plan)), "null": tuple(_plan_null(plan)), "widths": tuple(_plan_widths(plan))}


def due_extra_runs(planned: Mapping[str, Sequence[ExtraRun]], judged: Judged) -> list[ExtraRun]:
    """Those at other rates and widths that have something to tell, once all verdicts are there."""
    if not judged.is_complete:
        return []
    kinds = ("rates", "widths")
    return [run for kind in kinds for run in planned[kind] if judged.is_due(kind, run.about.get("arm"))]


def run_extra_runs(
    extra_runs: Sequence[ExtraRun],
    *,
    store: Store,
    plan: Plan,
    study_file: Path | None,
    executor: Executor,
    observe: Observe,
) -> dict[str, Record]:
    """Run those that are missing, in order, and those that failed before; all records by digest."""
    by_digest = {extra.run.digest: extra for extra in extra_runs}
    for digest in by_digest:
        if store.is_done(digest) and store.read_record(digest).status == "failed":
            store.forget_record(digest)
    waiting = [extra for digest, extra in by_digest.items() if not store.is_done(digest)]

    def next_job() -> Job | None:
        if not waiting:
            return None
        extra = waiting.pop(0)
        return make_job(store, plan, extra.run, extra.arm, study_file)

    def pass_on(event: Mapping[str, Any]) -> None:
        extra = by_digest[event["digest"]]
        steps = extra.arm.training.steps
        observe({**event, "arm": extra.run.arm, "seed": extra.run.seed, "steps": steps})

    executor.execute(next_job, pass_on, lambda digest: True)
    return {digest: store.read_record(digest) for digest in by_digest}


def _plan_rates(plan: Plan) -> list[ExtraRun]:
    study = plan.study
    if study.tuning or arms_without_rates(study.arms):
        return []
    extra_runs = []
    for factor in study.extra_rates:
        for name in (BASELINE, *study.primary):
            arm = study.arms[name]
            arm = arm.replace(training=set_hyperparameters(arm.training, {LEARNING_RATE: factor}))
            run = identify_run(plan, f"{name} at {factor:g} x the rate", arm, study.first_seed)
            extra_runs.append(ExtraRun(run, arm, {"arm": name, "factor": factor}))
    return extra_runs


def _plan_null(plan: Plan) -> list[ExtraRun]:
    baseline = plan.study.arms[BASELINE]
    runs = (identify_run(plan, "baseline, perturbed", baseline, seed, nudged=True) for seed in plan.seeds[:NULL_PAIRS])
    return [ExtraRun(run, baseline) for run in runs]


def _plan_widths(plan: Plan) -> list[ExtraRun]:
    study = plan.study
    if study.width_response is None:
        return []
    baseline, (width,) = study.arms[BASELINE], study.response_widths
    extra_runs = []
    for wide in sorted({max(1, round(factor * width)) for factor in WIDTHS} - {width}):
        arm = baseline.replace(model=baseline.model.replace(study.width_response, wide))
        for seed in plan.seeds[: study.min_seeds]:
            run = identify_run(plan, f"baseline, width {wide}", arm, seed)
            extra_runs.append(ExtraRun(run, arm, {"width": wide}))
    return extra_runs
