"""Fair tuning: every arm gets the same trials, and its own best recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from paribus.design.study import BASELINE, Arm, Study
from paribus.design.tuning import Point, Tuning, set_hyperparameters
from paribus.errors import StudyError
from paribus.experiment.extra_runs import ExtraRun
from paribus.experiment.plan import Plan, identify_run
from paribus.judgement.tuned import Trial, Tuned, TunedArm
from paribus.store.records import Record

WORTH_MORE = 0.1
"""Of the margin: how much better than all inner values an edge must be before the best may lie beyond it."""

RunTrials = Callable[[Sequence[ExtraRun]], Mapping[str, Record]]
"""Runs what is missing of some trials; records by digest."""


def tune(plan: Plan, run: RunTrials) -> tuple[Study, Tuned]:
    """The study with the best recipe for each of its arms, and what every trial gave.

    All arms are tried at the same points on the same seeds, which are none of the verdict's; the verdict's runs are
    the fresh runs of the winners. Trials are scored on the validation documents, also where the study is judged
    on those held back. Raises StudyError where a trial fails, or no trial of an arm comes to its end.
    """
    study, tuning = plan.study, plan.study.tuning
    assert tuning  # a study that does not tune is not asked to
    n_asked = len(tuning.points)
    curves = _try_all(plan, tuning, run)
    stopped_by = None
    for _ in range(tuning.extensions):
        try:
            grown = _extend(study, tuning, curves)
            if grown == tuning:
                break
            curves = _try_all(plan, grown, run)
        except StudyError as error:  # what was tried stays, and its edge is a finding that says why
            stopped_by = str(error)
            break
        tuning = grown
    best = {arm: _best(study, arm, curve).point for arm, curve in curves.items()}
    tuned = Tuned(
        over={name: tuple(values) for name, values in tuning.over.items()},
        trials=tuning.trials,
        seeds=tuning.seeds,
        first_seed=tuning.first_seed,
        extensions=tuning.extensions,
        run_seeds=tuple(tuning.run_seeds),
        points_added=len(tuning.points) - n_asked,
        stopped_by=stopped_by,
        arms={arm: TunedArm(curve, best[arm], _edges(study, tuning, arm, curve)) for arm, curve in curves.items()},
    )
    return with_recipes(study, best), tuned


def _try_all(plan: Plan, tuning: Tuning, run: RunTrials) -> dict[str, tuple[Trial, ...]]:
    """Per arm one trial for every point."""
    study = plan.study
    trials: dict[str, list[list[ExtraRun]]] = {}
    for name, arm in study.arms.items():
        validated = arm.replace(training=arm.training.replace(evaluation_side="validation"))
        trials[name] = [[_trial(plan, name, validated, p, seed) for seed in tuning.run_seeds] for p in tuning.points]
    # Point by point over all arms: an interrupted search has tried all arms alike.
    order = [trial for rows in zip(*trials.values(), strict=True) for row in rows for trial in row]
    records = run(order)
    return {
        name: tuple(_score(study, t, [records[trial.run.digest] for trial in t]) for t in rows)
        for name, rows in trials.items()
    }


def _trial(plan: Plan, name: str, arm: Arm, point: Point, seed: int) -> ExtraRun:
    tried = arm.replace(training=set_hyperparameters(arm.training, point))
    said = ", ".join(f"{key} {value:.3g}" for key, value in point.items())
    run = identify_run(plan, f"{name}, {said}", tried, seed)
    return ExtraRun(run, tried, {"arm": name, "point": dict(point)})


def _score(study: Study, trials: Sequence[ExtraRun], records: Sequence[Record]) -> Trial:
    for trial, record in zip(trials, records, strict=True):
        if record.status == "failed":
            why = (record.error or "no reason given").strip().splitlines()[0]
            raise StudyError(f"tuning: the run of {trial.run.arm!r} (seed {record.seed}) failed: {why}")
    values = [record.metrics.get(study.metric.key) if record.status == "done" else None for record in records]
    known = [value for value in values if value is not None]
    unmeasured = tuple(trial.run.training_digest for trial in trials)
    return Trial(
        point=dict(trials[0].about["point"]),
        digests=tuple(trial.run.digest for trial in trials),
        values=tuple(values),
        value=fmean(known) if len(known) == len(values) else None,
        unmeasured=unmeasured if study.metric.measure else None,
    )


def _best(study: Study, arm: str, curve: Sequence[Trial]) -> Trial:
    """The trial with the best mean; of equal ones the first."""
    if all(trial.value is None for trial in curve):
        raise StudyError(f"tuning: all {len(curve)} trials of {arm!r} diverged; try smaller values")
    sign = 1 if study.metric.better == "lower" else -1
    return min(curve, key=lambda trial: math.inf if trial.value is None else sign * trial.value)


def _extend(study: Study, tuning: Tuning, curves: Mapping[str, Sequence[Trial]]) -> Tuning:
    """The grid with one value more at every edge at which some arm is best; points drawn at random are no grid."""
    if tuning.trials is not None:
        return tuning
    edges = set()
    for arm, curve in curves.items():
        point = _best(study, arm, curve).point
        edges |= {(name, point[name] == tuning.over[name][-1]) for name in _edges(study, tuning, arm, curve)}
    for name, upwards in sorted(edges):
        tuning = tuning.extend(name, upwards)
    return tuning


def _edges(study: Study, tuning: Tuning, arm: str, curve: Sequence[Trial]) -> tuple[str, ...]:
    """Hyper-parameters whose best value is at the edge, and better than all inner ones by what could matter."""
    best, sign = _best(study, arm, curve), 1 if study.metric.better == "lower" else -1
    edges = []
    for name in tuning.over:
        inner = [trial.value for trial in curve if not tuning.is_edge(name, trial.point[name])]
        least = min((sign * value for value in inner if value is not None), default=math.inf)
        gain = least - sign * best.value  # type: ignore[operator]  # the best one did not diverge
        if tuning.is_edge(name, best.point[name]) and gain > WORTH_MORE * study.margin:
            edges.append(name)
    return tuple(edges)


def with_recipes(study: Study, points: Mapping[str, Point]) -> Study:
    """The study in which every arm has the hyper-parameters of its point."""

    def recipe(name: str) -> Any:
        return set_hyperparameters(study.arms[name].training, points[name])

    treatments = {name: arm.replace(training=recipe(name)) for name, arm in study.treatments.items()}
    return study.replace(training=recipe(BASELINE), treatments=treatments)
