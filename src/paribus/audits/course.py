"""How training went: still falling at the end, clipped at every step, full of spikes. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from paribus.records import Finding, Record

FURTHER = 0.10  # of the tokens: how far the end of the curve is drawn on
SATURATED = 0.90  # of the steps

_CURVE_OF_METRIC = {"val_loss": "loss", "val_bits_per_byte": "bits_per_byte", "val_accuracy": "accuracy"}


def find_falling_losses(study: Mapping[str, Any], records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """Arms whose metric would move by more than the margin in 10 % more tokens.

    A rough extrapolation: a straight line over log tokens, through the evaluation nearest half of the training and the
    last one. The last stretch alone says little where the learning rate has decayed.
    """
    key = _CURVE_OF_METRIC.get(study["metric"]["key"])
    if key is None:
        return
    sign = 1 if study["metric"]["better"] == "lower" else -1
    gains = {}
    for arm in study["arms"]:
        slopes = [_slope(r.evaluations, key) for r in records.get(arm, {}).values() if r.status == "done"]
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


def find_clipping(records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """Arms whose gradients were clipped nearly always: the threshold then sets the step size."""
    yield from _frequent(
        records,
        key="clipping_frequency",
        above=SATURATED,
        check="clipping",
        say=lambda arm, mean: (
            f"{mean:.0%} of the steps of {arm!r} were clipped: clip, not the learning rate, sets their size"
        ),
        remedy="raise clip or set it to None; arms with other gradient norms get other step sizes",
    )


def find_spikes(records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """Arms with steps whose loss lies far above the steps before."""
    yield from _frequent(
        records,
        key="loss_spikes",
        above=0.0,
        check="loss spikes",
        say=lambda arm, mean: f"{arm!r} has {mean:.1f} loss spikes a run",
        remedy="lower the learning rate or warm up longer, for all arms",
    )


def _slope(evaluations: Sequence[Mapping[str, float]], key: str) -> float | None:
    """Fall of the curve per log token over its second half; None where it has no such half."""
    end = evaluations[-1]["tokens"] if evaluations else 0
    before = [e for e in evaluations if 0 < e["tokens"] < end]
    if not before:
        return None
    middle = min(before, key=lambda e: abs(e["tokens"] - end / 2))
    return (middle[key] - evaluations[-1][key]) / math.log(end / middle["tokens"])


def _frequent(
    records: Mapping[str, Mapping[int, Record]], *, key: str, above: float, check: str, say: Any, remedy: str
) -> Iterator[Finding]:
    for arm, runs in records.items():
        values = {seed: r.metrics.get(key) for seed, r in sorted(runs.items()) if r.status == "done"}
        values = {seed: value for seed, value in values.items() if value is not None}
        if values and (mean := fmean(values.values())) > above:
            yield Finding(
                check=check,
                severity="note",
                message=say(arm, mean),
                arm=arm,
                evidence={key: {str(seed): value for seed, value in values.items()}},
                remedy=remedy,
            )
