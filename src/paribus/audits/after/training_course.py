"""How much training is this, and how much more would buy the effect? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from paribus.audits.after.trained_study import TrainedStudy
from paribus.audits.checks import Check
from paribus.design.study import BASELINE
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Finding, Record, loss_curve

WORTHLESS = 2.0  # times the tokens: a line drawn on further than it is long says nothing

STILL_FALLING = Check[TrainedStudy](
    name="still falling",
    when="after",
    severities=("note",),
    sees="A metric that would move by more than the margin in 10 % more tokens, on the line over log tokens through "
    "the evaluation nearest half of the training and the last one.",
    misses="What a longer schedule would do: it is a rough extrapolation. Metrics that are not scored during training.",
    cost="none",
    needs="records",
    find=lambda trained: find_falling_losses(trained.study, trained.records),
)

PRICE_IN_TOKENS = Check[TrainedStudy](
    name="price in tokens",
    when="after",
    severities=("note",),
    sees="For a difference above the margin and two standard errors: how many more tokens would buy the baseline as "
    "much, on the same line over log tokens.",
    misses="What a longer schedule would do. Above twice the tokens no number is given.",
    cost="none",
    needs="records",
    find=lambda trained: find_price_in_tokens(trained.study, trained.records),
)

CLIPPING = Check[TrainedStudy](
    name="clipping",
    when="after",
    severities=("note",),
    sees="Gradients clipped in more than 90 % of an arm's steps, or of the baseline's where the arm's share differs by "
    "more than half under the same `clip`.",
    misses="Clipping inside an optimizer.",
    cost="none",
    needs="records",
    find=lambda trained: find_clipping(trained.study, trained.records),
)

LOSS_SPIKES = Check[TrainedStudy](
    name="loss spikes",
    when="after",
    severities=("note",),
    sees="Steps whose loss lies 6 standard deviations above the mean of the 128 before.",
    misses="Spikes in the first 128 steps.",
    cost="none",
    needs="records",
    find=lambda trained: find_spikes(trained.records),
)


def find_price_in_tokens(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """How many more tokens would give the baseline the difference to a primary treatment.

    Only for a mean difference above the margin and above two standard errors. The baseline's curve is drawn on as a
    straight line over log tokens, through the evaluation nearest half of the training and the last one.
    """
    metric = study.metric
    key = CURVE_OF_METRIC.get(metric.key)
    sign = 1 if metric.better == "lower" else -1
    baseline = records.get(BASELINE, {})
    slopes = [slope_of_curve(r.evaluations, key) for r in baseline.values() if r.status == "done"] if key else []
    known = [sign * slope for slope in slopes if slope is not None]
    if not known or (slope := fmean(known)) <= 0:
        return
    for arm in study.primary:
        differences = _differences(baseline, records.get(arm, {}), metric.key)
        if len(differences) < 2:
            continue
        mean = fmean(differences)
        if abs(mean) > max(study.margin, 2 * stdev(differences) / math.sqrt(len(differences))):
            yield _price(arm, mean, sign, slope, metric.unit)


def _price(arm: str, mean: float, sign: int, slope: float, unit: str) -> Finding:
    worth = abs(mean) / slope  # of the log of the tokens
    is_worthless = worth > math.log(WORTHLESS)
    bought = "more than twice the tokens" if is_worthless else f"about {100 * math.expm1(worth):.2g} % more tokens"
    behind = sign * mean > 0
    return Finding(
        check="price in tokens",
        severity="note",
        message=f"{'the baseline is' if behind else repr(arm) + ' is'} ahead of "
        f"{repr(arm) if behind else 'the baseline'} by {abs(mean):.2g} {unit}, as much as {bought} buy the baseline "
        "at the end of its training",
        arm=arm,
        evidence={
            "mean_difference": mean,
            "slope_per_log_token": slope,
            "more_tokens": None if is_worthless else math.expm1(worth),
        },
        remedy="compare at equal time or FLOPs where the treatment costs more of them",
    )


def _differences(baseline: Mapping[int, Record], treatment: Mapping[int, Record], key: str) -> list[float]:
    pairs = [(baseline[seed], record) for seed, record in sorted(treatment.items()) if seed in baseline]
    values = [(one.metrics.get(key), other.metrics.get(key)) for one, other in pairs]
    return [other - one for one, other in values if one is not None and other is not None]


FURTHER = 0.10  # of the tokens: how far the end of the curve is drawn on

SATURATED = 0.90  # of the steps

UNEQUAL = 0.50  # between the shares of two arms

CURVE_OF_METRIC = {"val_loss": "loss", "val_bits_per_byte": "bits_per_byte", "val_accuracy": "accuracy"}
"""Metric to what every evaluation calls it."""


def find_falling_losses(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Arms whose metric would move by more than the margin in 10 % more tokens.

    A rough extrapolation: a straight line over log tokens, through the evaluation nearest half of the training and the
    last one. The last stretch alone says little where the learning rate has decayed.
    """
    key = CURVE_OF_METRIC.get(study.metric.key)
    if key is None:
        return
    sign = 1 if study.metric.better == "lower" else -1
    gains = {}
    for arm in study.arms:
        slopes = [slope_of_curve(r.evaluations, key) for r in records.get(arm, {}).values() if r.status == "done"]
        if known := [slope for slope in slopes if slope is not None]:
            gains[arm] = sign * fmean(known) * math.log1p(FURTHER)
    margin = study.margin
    if gains and max(gains.values()) > margin:
        arm = max(gains, key=lambda name: gains[name])
        margins = f"{gains[arm] / margin:.2g} margins" if margin else "the margin is 0"
        yield Finding(
            check="still falling",
            severity="note",
            message=f"the verdict is about this much training: in {arm!r}, 10 % more tokens would "
            f"{'lower' if sign > 0 else 'raise'} the {key.replace('_', ' ')} by about {gains[arm]:.2g} "
            f"{study.metric.unit}, {margins}",
            evidence={"gain_in_10_percent_more_tokens": gains, "margin": margin},
            remedy="train longer, or do not carry the verdict over to longer training",
        )


def find_clipping(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Arms whose gradients were clipped nearly always: the threshold then sets the step size.

    It does so in one arm alone where, under the same ``clip``, the baseline was clipped far more or less.
    """
    clip = {arm: plan.training.clip for arm, plan in study.arms.items()}
    means = {arm: _mean(records.get(arm, {}), "clipping_frequency") for arm in study.arms}
    frequency = {arm: mean for arm, mean in means.items() if mean is not None}
    there = frequency.get(BASELINE)
    for arm, here in frequency.items():
        alike = there if there is not None and clip[arm] == clip[BASELINE] else here
        is_unequal = abs(here - alike) > UNEQUAL and max(here, alike) > SATURATED
        if here > SATURATED or is_unequal:
            beside = f", the baseline's in {there:.0%}" if is_unequal else ""
            yield Finding(
                check="clipping",
                severity="note",  # optimizers such as AdamW and Muon take steps of a size that clipping hardly moves
                message=f"the gradients of {arm!r} were clipped in {here:.0%} of its steps{beside}: "
                "where they always are, clip and not the learning rate sets the step",
                arm=arm,
                evidence={"clipping_frequency": frequency, "clip": clip[arm]},
                remedy="raise clip or set it to None, for all arms",
            )


def find_spikes(records: Records) -> Iterator[Finding]:
    """Arms with steps whose loss lies far above the steps before."""
    for arm, runs in records.items():
        if mean := _mean(runs, "loss_spikes"):
            yield Finding(
                check="loss spikes",
                severity="note",
                message=f"{arm!r} has {mean:.1f} loss spikes a run",
                arm=arm,
                evidence={"loss_spikes": {str(seed): r.metrics.get("loss_spikes") for seed, r in sorted(runs.items())}},
                remedy="lower the learning rate or warm up longer, for all arms",
            )


def slope_of_curve(evaluations: Sequence[Mapping[str, float]], key: str) -> float | None:
    """Fall of the curve per log token over its second half; None where it has no such half."""
    curve = loss_curve(evaluations)
    end = curve[-1]["tokens"] if curve else 0
    before = [e for e in curve if 0 < e["tokens"] < end]
    if not before:
        return None
    middle = min(before, key=lambda e: abs(e["tokens"] - end / 2))
    return (middle[key] - curve[-1][key]) / math.log(end / middle["tokens"])


def _mean(runs: Mapping[int, Record], key: str) -> float | None:
    values = [record.metrics.get(key) for record in runs.values() if record.status == "done"]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
