"""How training went: still falling at the end, clipped at every step, full of spikes. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from paribus.records import Finding, Record, loss_curve
from paribus.study import BASELINE

FURTHER = 0.10  # of the tokens: how far the end of the curve is drawn on
SATURATED = 0.90  # of the steps
UNEQUAL = 0.50  # between the shares of two arms

CURVE_OF_METRIC = {"val_loss": "loss", "val_bits_per_byte": "bits_per_byte", "val_accuracy": "accuracy"}
"""Metric to what every evaluation calls it."""


def find_falling_losses(study: Mapping[str, Any], records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """Arms whose metric would move by more than the margin in 10 % more tokens.

    A rough extrapolation: a straight line over log tokens, through the evaluation nearest half of the training and the
    last one. The last stretch alone says little where the learning rate has decayed.
    """
    key = CURVE_OF_METRIC.get(study["metric"]["key"])
    if key is None:
        return
    sign = 1 if study["metric"]["better"] == "lower" else -1
    gains = {}
    for arm in study["arms"]:
        slopes = [slope_of_curve(r.evaluations, key) for r in records.get(arm, {}).values() if r.status == "done"]
        if known := [slope for slope in slopes if slope is not None]:
            gains[arm] = sign * fmean(known) * math.log1p(FURTHER)
    margin = study["margin"]
    if gains and max(gains.values()) > margin:
        arm = max(gains, key=lambda name: gains[name])
        margins = f"{gains[arm] / margin:.2g} margins" if margin else "the margin is 0"
        yield Finding(
            check="still falling",
            severity="note",
            message=f"the verdict is about this much training: in {arm!r}, 10 % more tokens would "
            f"{'lower' if sign > 0 else 'raise'} the {key.replace('_', ' ')} by about {gains[arm]:.2g} "
            f"{study['metric']['unit']}, {margins}",
            evidence={"gain_in_10_percent_more_tokens": gains, "margin": margin},
            remedy="train longer, or do not carry the verdict over to longer training",
        )


def find_clipping(study: Mapping[str, Any], records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """Arms whose gradients were clipped nearly always: the threshold then sets the step size.

    It does so in one arm alone where, under the same ``clip``, the baseline was clipped far more or less.
    """
    clip = {arm: plan["training"]["clip"] for arm, plan in study["arms"].items()}
    means = {arm: _mean(records.get(arm, {}), "clipping_frequency") for arm in study["arms"]}
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


def find_spikes(records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
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
