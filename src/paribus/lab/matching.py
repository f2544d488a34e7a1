"""Treatments made as large, or as dear, as the baseline: one width of each is solved for before anything runs."""

from __future__ import annotations

import math
from functools import cache

from paribus.audits.instruments.costs import measure_flops, measure_parameters
from paribus.audits.instruments.models import blaming
from paribus.design.specs import Spec
from paribus.design.study import MATCHES, Arm, Study
from paribus.design.trees import describe
from paribus.errors import SpecError, StudyError

LARGEST_MISMATCH = 0.005  # of the baseline's number; half a unit of the width where that is more
_WIDEST = 2**20
_TRIES = 20


def solve_widths(study: Study, vocab_size: int) -> Study:
    """``study`` with the width of every treatment that asks for a ``match``, at which it comes nearest to the baseline.

    Raises StudyError, the arm's name in front, where no width comes near enough, and SpecError for a pattern that
    names no number.
    """
    asking = {name: arm for name, arm in study.treatments.items() if arm.match}
    if not asking:
        return study
    costs: dict[str, float] = {}
    solved = dict(study.treatments)
    for name, arm in asking.items():
        assert arm.match
        if arm.match not in costs:
            costs[arm.match] = _measure(study.baseline, arm.match, vocab_size, study.training.seq_len)
        with blaming(name):
            solved[name] = _solve(arm, costs[arm.match], vocab_size, study.training.seq_len)
    return study.replace(treatments=solved)


def _solve(arm: Arm, target: float, vocab_size: int, seq_len: int) -> Arm:
    assert arm.match and arm.width  # an Arm that has one has both
    match, width = arm.match, arm.width
    start = _require_width(arm.model, width)

    def put(units: int) -> Spec:
        return arm.model.replace(width, units * arm.multiple_of)

    @cache
    def cost(units: int) -> float:
        try:
            return _measure(put(units), match, vocab_size, seq_len)
        except SpecError as error:
            tried = f"{width} = {units * arm.multiple_of}"
            raise SpecError(f"{error} (while trying {tried}; multiple_of=... keeps to widths that fit)") from error

    low = max(1, start // arm.multiple_of)
    below, above = cost(low), cost(low + 1)
    if below == above:
        raise StudyError(f"{width} does not change the {_name(match)}; let another width float")
    for _ in range(_TRIES):
        if below <= target <= above or (low == 1 and below > target):
            break
        # Counts are nearly straight lines in a width, so the line through two of them almost hits.
        slope = above - below
        last, low = low, min(max(low + math.floor((target - below) / slope), 1), _WIDEST) if slope > 0 else 1
        is_straight = cost(low) == below + slope * (low - last)
        below, above = cost(low), cost(low) + slope if is_straight else cost(low + 1)
    units, reached = min(((low, below), (low + 1, above)), key=lambda end: abs(end[1] - target))
    allowed = max(LARGEST_MISMATCH * target, (above - below) / 2)
    if abs(reached - target) > allowed:
        nearest = units * arm.multiple_of
        raise StudyError(
            f"no {width} makes it equal in {_name(match)}: {nearest} comes nearest, with {reached:,.0f} "
            f"against {target:,.0f} of the baseline ({reached / target - 1:+.1%}); let another width float"
        )
    return arm.replace(model=put(units))


def _measure(model: Spec, match: str, vocab_size: int, seq_len: int) -> float:
    measure = measure_flops if match == "flops" else measure_parameters
    return measure(model, vocab_size, seq_len)[MATCHES[match]]


def _name(match: str) -> str:
    return MATCHES[match].replace("_", " ")


def _require_width(model: Spec, width: str) -> int:
    """Where the search begins: what stands at the width now."""
    marked = model.replace(width, 1)
    values = [change.before for change in model.diff(marked)] or [1]
    odd = next((v for v in values if v is not None and (isinstance(v, bool) or not isinstance(v, int))), None)
    if odd is not None:
        raise SpecError(f"width {width!r} is to be a whole number, and {describe(odd)} stands there")
    return next((value for value in values if value), 64)
