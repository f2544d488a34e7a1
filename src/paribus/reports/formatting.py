"""Numbers as a reader wants them: two digits of their uncertainty, human units, a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from paribus.judgement.summaries import Summary

MISSING = "\N{EM DASH}"
_MOST_DECIMALS = 12
_MOST_DIGITS = 7  # significant digits of a mean, whatever its sd, and as many as it takes to tell two arms apart

# family: (smallest number that is written in it, divisor, unit), largest unit first
_SCALES = {
    "count": (
        (1e12, 1e12, "trillion"),
        (1e9, 1e9, "billion"),
        (1e5, 1e6, "million"),
        (1e3, 1e3, "thousand"),
        (0, 1, ""),
    ),
    "parameters": ((1e9, 1e9, "B"), (1e5, 1e6, "M"), (1e3, 1e3, "k"), (0, 1, "")),
    "flops": (
        *((10.0**power, 10.0**power, unit) for power, unit in ((21, "ZFLOP"), (18, "EFLOP"), (15, "PFLOP"))),
        *((10.0**power, 10.0**power, unit) for power, unit in ((12, "TFLOP"), (9, "GFLOP"), (6, "MFLOP"))),
        (0, 1e3, "kFLOP"),
    ),
    "bytes": ((2**30, 2**30, "GiB"), (2**17, 2**20, "MiB"), (2**10, 2**10, "KiB"), (0, 1, "B")),
    "seconds": ((7200, 3600, "h"), (0, 1, "s")),
}


def is_known(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def choose_decimals(spread: float | None, digits: int = 2) -> int | None:
    """Decimal places that show ``digits`` significant digits of ``spread`` (below 0: tens); None without a spread."""
    if not is_known(spread) or spread == 0:
        return None
    places = digits - 1 - math.floor(math.log10(abs(spread)))
    if round(abs(spread), places) >= 10.0 ** (digits - places):  # .0999 becomes .10, not .100
        places -= 1
    return min(_MOST_DECIMALS, places)


def choose_scale(family: str, largest: float | None) -> tuple[float, str]:
    """Divisor and unit that make ``largest`` short; ``family``: "count", "parameters", "flops", "bytes", "seconds"."""
    size = abs(largest) if is_known(largest) else 0.0
    return next((float(divisor), unit) for least, divisor, unit in _SCALES[family] if size >= least)


def write_number(value: Any, decimals: int | None = None) -> str:
    """``value`` with so many decimals; without, with four significant digits and no trailing zeros."""
    if not is_known(value):
        return MISSING
    if decimals is None:
        return _write_plain(value, 4)
    rounded = round(float(value), decimals)
    rounded = 0.0 if rounded == 0 else rounded  # no "-0.000"
    return f"{rounded:,.{max(0, decimals)}f}"


def write_signed(value: Any, decimals: int | None = None) -> str:
    """The same with a plus where it is positive as written."""
    text = write_number(value, decimals)
    is_zero = not text.strip("0.,-")
    return text if text == MISSING or is_zero or value < 0 else f"+{text}"


def write_range(ends: Sequence[float] | None, decimals: int | None = None) -> str:
    """``-0.029 to +0.030``."""
    if not ends or not all(is_known(end) for end in ends):
        return MISSING
    return f"{write_signed(ends[0], decimals)} to {write_signed(ends[1], decimals)}"


def write_digits(value: Any, digits: int = 2) -> str:
    """``value`` with so many significant digits; below a millionth as a power of ten."""
    if not is_known(value):
        return MISSING
    if 0 < abs(value) < 1e-6:
        return f"{value:.{digits}g}"
    return write_number(value, choose_decimals(value, digits)) if value else "0"


def write_row(summaries: Sequence[Summary], divisor: float = 1.0) -> list[str]:
    """One metric over several arms: ``mean ± sd``, each with two digits of its sd, in units of ``divisor``.

    Means without a spread get four significant digits, or as many as tell the arms apart. Runs that have no value are
    counted: ``4.1 ± 0.2 (2 of 3 runs)``.
    """
    means = [s.mean / divisor for s in summaries if is_known(s.mean)]
    digits = next(
        (d for d in range(4, _MOST_DIGITS) if len({_write_plain(m, d) for m in means}) == len(set(means))), _MOST_DIGITS
    )
    return [_write_summary(summary, divisor, digits) for summary in summaries]


def _write_summary(summary: Summary, divisor: float, digits: int) -> str:
    if not is_known(summary.mean):
        return MISSING
    mean, sd = summary.mean / divisor, summary.sd
    if not is_known(sd):
        sd = math.nan
    decimals = choose_decimals(sd / divisor)
    most = choose_decimals(mean, _MOST_DIGITS)
    if decimals is None or abs(sd) < 1e-12 * abs(summary.mean):
        text = _write_plain(mean, digits)
    elif most is not None and sd / divisor < 0.5 * 10.0**-most:
        text = f"{write_number(mean, most)} ± <{write_number(10.0**-most, most)}"
    else:
        decimals = decimals if most is None else min(decimals, most)
        text = f"{write_number(mean, decimals)} ± {write_number(sd / divisor, decimals)}"
    n, known = len(summary.values), sum(map(is_known, summary.values))
    return text if known == n else f"{text} ({known} of {n} runs)"


def _write_plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = min(_MOST_DECIMALS, digits - 1 - math.floor(math.log10(abs(value))))
    if decimals <= 0:
        return f"{value:,.0f}"
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".")


def write_count(n: int, thing: str) -> str:
    """A number of things in words: 1 run, 2 runs."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
