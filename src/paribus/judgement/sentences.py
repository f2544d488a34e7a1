"""The words of a verdict: what was compared, by how much it differs, over how many seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paribus.judgement.comparison import Comparison


def name_subject(comparison: Comparison) -> str:
    """What gets the verdict: the treatment's name, or a contrast in words."""
    contrast = comparison.contrast
    if contrast is None:
        return comparison.treatment
    if not contrast.factors:
        return f"The contrast {comparison.treatment!r}"
    kind = "main effect" if len(contrast.factors) == 1 else "interaction"
    return f"The {kind} of {_list(contrast.factors)}"


def state_verdict(comparison: Comparison, kind: str) -> str:
    """The claim that a verdict "better", "worse" or "equivalent" makes, as a clause."""
    contrast = comparison.contrast
    if contrast is None:
        return f"{comparison.treatment} is {kind} {'to' if kind == 'equivalent' else 'than'} the baseline"
    if kind == "equivalent":
        return f"{name_subject(comparison)} is equivalent to zero"
    if len(contrast.factors) < 2:
        return f"{name_subject(comparison)} is for the {kind}"
    less = "separate effects" if len(contrast.factors) == 2 else "effects and smaller interactions"
    return f"{_list(contrast.factors)} together do {kind} than their {less} add up to"


def state_size(comparison: Comparison) -> str:
    """The mean with its interval: a difference of the metric, or a contrast's value with its sign."""
    assert comparison.mean is not None
    decimals = choose_decimals(comparison)
    if is_difference(comparison):
        moved = "lower" if comparison.mean < 0 else "higher"
        size = f"{abs(comparison.mean):.{decimals}f}"
        by = f"{moved} by {size}" if float(size) > 0 else f"changed by less than {10.0**-decimals:.{decimals}f}"
        said = f"{name_metric(comparison)} {by} {comparison.metric.unit}"
    else:
        said = f"{comparison.mean:+.{decimals}f} {comparison.metric.unit} of {name_metric(comparison)}"
    if comparison.interval is None:
        return f"{said} ({count_seeds(comparison)}, no interval yet)"
    interval = write_range(*comparison.interval, decimals)
    return f"{said} (interval {interval}, {comparison.coverage}; {count_seeds(comparison)})"


def explain_contrast(comparison: Comparison) -> tuple[str, ...]:
    """What a reader must know of a contrast to read its number, such as the weights of one that is no effect.

    Nothing for a treatment and for a main effect.
    """
    contrast = comparison.contrast
    if contrast is None or len(contrast.factors) == 1:
        return ()
    if not contrast.factors:
        weighed = " ".join(f"{weight:+.4g} x {arm!r}" for arm, weight in contrast.weights.items())
        return (f"The contrast is {weighed}.",)
    *others, last = contrast.factors
    averaged = ", averaged over the other factors" if len(contrast.weights) > 2 ** len(contrast.factors) else ""
    return (
        f"This interaction is half the difference between the effect of {':'.join(others)} with {last} and without "
        f"{last}{averaged}; it is 0 where the effects add up.",
    )


def is_difference(comparison: Comparison) -> bool:
    """Whether the mean is a difference of two means of the metric: of a treatment, or a main effect."""
    return comparison.contrast is None or len(comparison.contrast.factors) == 1


def count_seeds(comparison: Comparison, n: int | None = None) -> str:
    """``3 pairs``, of a contrast ``3 seeds``; ``n`` instead of those that were read."""
    n = comparison.n_pairs if n is None else n
    thing = "pair" if comparison.contrast is None else "seed"
    return f"1 {thing}" if n == 1 else f"{n} {thing}s"


def choose_decimals(comparison: Comparison) -> int:
    """Two significant digits of the interval's half width."""
    if comparison.interval is None:
        return 4
    half = (comparison.interval[1] - comparison.interval[0]) / 2
    return min(12, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 6


def write_range(low: float, high: float, decimals: int) -> str:
    """``-0.029 to +0.030``."""
    return f"{low:+.{decimals}f} to {high:+.{decimals}f}"


def name_metric(comparison: Comparison) -> str:
    """The metric's key in words."""
    words = comparison.metric.key.split("_")
    return " ".join({"val": "validation"}.get(word, word) for word in words)


def _list(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
