"""What a budget can settle: the chance of each verdict before money is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from paribus.design.plain import fields_to_plain
from paribus.design.streams import derive
from paribus.errors import JudgementError
from paribus.judgement.looks import Ending, replay
from paribus.judgement.planning import WANTED_CHANCE
from paribus.judgement.rules import Rule

CONFIDENCE = 0.90
"""Of the intervals around standard deviations."""

_EXPERIMENTS = 4_000  # the standard error of a simulated chance is below .008
_STILL = 1e-9  # stands for a standard deviation of 0, which would end as "seeds have no effect"


@dataclass(frozen=True)
class Power:
    """What becomes of a treatment whose true gain is known.

    Args:
        gain: true difference, in the metric's unit; positive is better.
        sd: standard deviation of the paired differences.
        better, worse, equivalent, undecided: chance of each verdict.
        pairs: mean number of pairs it takes.
    """

    gain: float
    sd: float
    better: float
    worse: float
    equivalent: float
    undecided: float
    pairs: float


@dataclass(frozen=True)
class NullCalibration:
    """What the baseline's own runs say about the noise of a study, and what its budget can settle in it.

    Args:
        unit: of the metric.
        margin, n_max: of the rule.
        n_seeds: runs of the baseline, and of its nudged copy.
        seed_sd, seed_sd_interval: of the baseline over seeds, with a 90 % interval.
        floor_sd, floor_sd_interval: of the paired differences between the baseline and its copy nudged by rounding.
        correlation: between the two over seeds; None where one of them does not vary.
        sds: "best", "middle", "worst": the paired sd of a treatment that follows its baseline as closely as a nudged
            copy does, the geometric middle, and that of one that shares nothing with it: sqrt(2) seed_sd.
        powers: by the same names, the chances at gains of 0, one and two margins.
        smallest_margins: by the same names, the smallest margin that could be settled (see ``smallest_margin``).
        sentences: what to make of it.
    """

    unit: str
    margin: float
    n_max: int
    n_seeds: int
    seed_sd: float
    seed_sd_interval: tuple[float, float]
    floor_sd: float
    floor_sd_interval: tuple[float, float]
    correlation: float | None
    sds: dict[str, float]
    powers: dict[str, tuple[Power, ...]]
    smallest_margins: dict[str, float]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields by name; tuples as lists."""
        return fields_to_plain(self)


def simulate_power(rule: Rule, sd: float, gains: Sequence[float] | None = None) -> tuple[Power, ...]:
    """The chance of each verdict for true ``gains``: by default none, one margin and two (with margin 0: in sd).

    4,000 simulated experiments with normal differences, judged by ``replay``; the same every time.
    An sd of 0 is taken for a very small one. Raises JudgementError for an sd that is negative or not finite.
    """
    if not 0 <= sd < math.inf:
        raise JudgementError(f"a standard deviation must be finite and not negative, got {sd}")
    step = rule.margin or sd
    gains = (0.0, step, 2 * step) if gains is None else gains
    return tuple(_simulate(rule, sd, gain) for gain in gains)


def calibrate_null(
    baseline_values: Sequence[float], nudged_values: Sequence[float], rule: Rule, unit: str = ""
) -> NullCalibration:
    """What the baseline and its copy nudged by rounding, run on the same seeds, say about noise and budget.

    Raises JudgementError for fewer than 2 seeds, unequal lengths, or values that are not finite.
    """
    baseline, nudged = np.asarray(baseline_values, dtype=float), np.asarray(nudged_values, dtype=float)
    n = len(baseline)
    if n != len(nudged) or n < 2:
        raise JudgementError(
            f"noise is measured on two or more shared seeds; got {n} runs of the baseline and {len(nudged)} nudged"
        )
    if not (np.isfinite(baseline).all() and np.isfinite(nudged).all()):
        raise JudgementError("a run of the baseline or of its nudged copy diverged: nothing to calibrate by")
    seed_sd, floor_sd = float(baseline.std(ddof=1)), float((nudged - baseline).std(ddof=1))
    low, high = sorted((floor_sd, math.sqrt(2) * seed_sd))
    sds = {"best": low, "middle": math.sqrt(low * high) or high / 2, "worst": high}
    varies = baseline.std() > 0 and nudged.std() > 0
    return NullCalibration(
        unit=unit,
        margin=rule.margin,
        n_max=rule.n_max,
        n_seeds=n,
        seed_sd=seed_sd,
        seed_sd_interval=sd_interval(seed_sd, n),
        floor_sd=floor_sd,
        floor_sd_interval=sd_interval(floor_sd, n),
        correlation=float(np.corrcoef(baseline, nudged)[0, 1]) if varies else None,
        sds=sds,
        powers={name: simulate_power(rule, sd) for name, sd in sds.items()},
        smallest_margins={name: smallest_margin(rule, sd) for name, sd in sds.items()},
        sentences=_advise(rule, sds, floor_sd, unit),
    )


def smallest_margin(rule: Rule, sd: float) -> float:
    """The smallest margin that ``rule``'s looks settle at a paired ``sd`` with a chance of 80 %.

    Settle means: no difference is found equivalent, and a gain of two margins is found better. With a rule of margin 0
    nothing but bit-identity is equivalent; it is then the smallest gain that is found better.
    """
    return sd * _settled_ratio(replace(rule, margin=float(rule.margin > 0)))


def sd_interval(sd: float, n: int) -> tuple[float, float]:
    """Both ends of the 90 % interval of a standard deviation (ddof 1) over ``n`` normal values.

    sd sqrt((n - 1) / chi2[n - 1, .95]) and sd sqrt((n - 1) / chi2[n - 1, .05]).
    """
    from scipy.special import chdtri

    tail = (1 - CONFIDENCE) / 2
    low, high = (sd * math.sqrt((n - 1) / chdtri(n - 1, upper)) for upper in (tail, 1 - tail))
    return float(low), float(high)


def _simulate(rule: Rule, sd: float, gain: float) -> Power:
    sd = sd or _STILL * (rule.margin or abs(gain) or 1.0)
    endings, stops = replay(sd * _noise(rule.n_max) - gain, rule)

    def chance(*codes: Ending) -> float:
        return float(np.isin(endings, codes).mean())

    return Power(
        gain=float(gain),
        sd=float(sd),
        better=chance(Ending.BETTER),
        worse=chance(Ending.WORSE),
        equivalent=chance(Ending.EQUIVALENT),
        undecided=chance(Ending.EXHAUSTED, Ending.UNLIKELY),
        pairs=float(stops.mean()),
    )


@lru_cache(maxsize=4)
def _noise(n_max: int) -> np.ndarray:
    return np.random.default_rng(derive(0, "power", n_max)).standard_normal((_EXPERIMENTS, n_max))


@lru_cache(maxsize=64)
def _settled_ratio(rule: Rule) -> float:
    """The smallest settled margin in units of the sd, by bisection to 1 %; ``rule.margin`` is 1, or 0 for none."""

    def is_settled(ratio: float) -> bool:
        if rule.margin == 0:
            return _simulate(rule, 1.0, ratio).better >= WANTED_CHANCE
        tried = replace(rule, margin=ratio)
        return (
            _simulate(tried, 1.0, 0.0).equivalent >= WANTED_CHANCE
            and _simulate(tried, 1.0, 2 * ratio).better >= WANTED_CHANCE
        )

    low, high = 0.0, 1.0
    while not is_settled(high):
        low, high = high, 2 * high
        if high > 1e6:
            return math.inf  # a few pairs may never settle it at a tiny error rate
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_settled(middle) else (middle, high)
    return high


def _advise(rule: Rule, sds: dict[str, float], floor_sd: float, unit: str) -> tuple[str, ...]:
    """What a person can act on: can this margin be settled, and if not, which could."""
    best, worst = smallest_margin(rule, sds["best"]), smallest_margin(rule, sds["worst"])
    unit = f" {unit}" if unit else ""
    within = f"within {rule.n_max} pairs"
    span = f"from {best:.2g}{unit} (a treatment that stays as close to the baseline as its nudged copy) "
    span += f"to {worst:.2g}{unit} (one that shares nothing with it)"
    if rule.margin == 0:
        return (f"With a margin of 0, the smallest difference found {within} with a chance of 80 % runs {span}.",)
    margin = f"The margin of {rule.margin:.4g}{unit}"
    settled = f"can be settled {within} with a chance of 80 %"
    if rule.margin >= worst:
        said = f"{margin} {settled} whatever the treatment shares with the baseline."
    elif rule.margin >= best:
        # the margin is proportional to the sd it is settled at
        limit = sds["worst"] * rule.margin / worst
        said = f"{margin} {settled} only where the paired differences have an sd below {limit:.2g}{unit}"
        said += f"; here it lies between {sds['best']:.2g} and {sds['worst']:.2g}."
    else:
        said = f"{margin} cannot be settled {within}: rounding alone gives paired differences an sd of {floor_sd:.2g}"
        said += f"{unit}. Register more pairs, quieter runs (longer training, more tokens scored), or a larger margin."
    return (said, f"The smallest margin settled {within} with a chance of 80 % runs {span}.")
