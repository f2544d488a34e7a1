"""How much training is this, and how much more would buy the effect? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean, stdev
from typing import Any

from paribus.audits.course import CURVE_OF_METRIC, slope_of_curve
from paribus.records import Finding, Record
from paribus.study import BASELINE, Study

MANY_PASSES = 20  # a repeated token's worth falls by e in some 15 passes: Muennighoff et al. 2023, arXiv:2305.16264
WORTHLESS = 2.0  # times the tokens: a line drawn on further than it is long says nothing


def find_budget(study: Study, corpus_tokens: int, active_parameters: Mapping[str, float]) -> Iterator[Finding]:
    """Training tokens per active parameter and passes over the ``corpus_tokens`` of the training side.

    ``active_parameters`` are those of each arm. The arm that sees most tokens stands for the study.
    """
    tokens = {name: arm.training.trained_tokens for name, arm in study.arms.items()}
    most = max(tokens, key=lambda name: tokens[name])  # the baseline, where all see as many
    passes = tokens[most] / corpus_tokens
    per_parameter = tokens[most] / active_parameters[most]
    yield Finding(
        check="budget",
        severity="doubt" if passes > MANY_PASSES else "note",
        message=f"{tokens[most]:,} training tokens are {per_parameter:.2g} per active parameter of {most!r} and "
        f"{passes:.2g} passes over the training side",
        evidence={
            "tokens": tokens,
            "active_parameters": dict(active_parameters),
            "tokens_per_active_parameter": {name: tokens[name] / active_parameters[name] for name in tokens},
            "passes": {name: count / corpus_tokens for name, count in tokens.items()},
            "corpus_tokens": corpus_tokens,
        },
        remedy=f"take a larger corpus or fewer tokens: after {MANY_PASSES} passes arms differ in what they memorise"
        if passes > MANY_PASSES
        else "",
    )


def find_price_in_tokens(study: Mapping[str, Any], records: Mapping[str, Mapping[int, Record]]) -> Iterator[Finding]:
    """How many more tokens would give the baseline the difference to a primary treatment.

    Only for a mean difference above the margin and above two standard errors. The baseline's curve is drawn on as a
    straight line over log tokens, through the evaluation nearest half of the training and the last one.
    """
    metric = study["metric"]
    key = CURVE_OF_METRIC.get(metric["key"])
    sign = 1 if metric["better"] == "lower" else -1
    baseline = records.get(BASELINE, {})
    slopes = [slope_of_curve(r.evaluations, key) for r in baseline.values() if r.status == "done"] if key else []
    known = [sign * slope for slope in slopes if slope is not None]
    if not known or (slope := fmean(known)) <= 0:
        return
    for arm in study["primary"]:
        differences = _differences(baseline, records.get(arm, {}), metric["key"])
        if len(differences) < 2:
            continue
        mean = fmean(differences)
        if abs(mean) > max(study["margin"], 2 * stdev(differences) / math.sqrt(len(differences))):
            yield _price(arm, mean, sign, slope, metric["unit"])


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
