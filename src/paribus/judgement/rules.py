"""The rule that a study registers before its first run: error rate, looks, margin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from paribus.design.study import MOST_SEEDS, Study
from paribus.errors import StudyError
from paribus.judgement.boundaries import Boundaries, find_boundaries

_BOUNDARY = "group-sequential"

_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMERALS = (*_WORDS.split(), "seventeen", "eighteen", "nineteen", "twenty")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How pairs become a verdict; fixed at registration.

    Args:
        margin: m, the smallest difference worth acting on, in the metric's unit. 0: equivalent only when bit-identical.
        alpha: probability that any primary treatment gets a wrong verdict of one sort, over all looks.
        n_min, n_max: a verdict falls after at least and at most so many pairs.
        n_primary: K, the treatments and contrasts that share ``alpha``; each is judged at alpha / K.
        give_up: stop where the predicted chance of a verdict by ``n_max`` is below this; 0 never gives up.
        first_seed: seed of the first pair.

    Raises StudyError for values that make no sense.
    """

    margin: float
    alpha: float = 0.05
    n_min: int = 3
    n_max: int = 10
    n_primary: int = 1
    give_up: float = 0.10
    first_seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.margin, bool) or not isinstance(self.margin, int | float) or not 0 <= self.margin < math.inf:
            raise StudyError(f"margin must be finite and not negative, got {self.margin!r}")
        for name in ("n_min", "n_max", "n_primary", "first_seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise StudyError(f"{name} must be a whole number, got {value!r}")
        if not 2 <= self.n_min <= self.n_max <= MOST_SEEDS:
            raise StudyError(f"need 2 <= n_min <= n_max <= {MOST_SEEDS}, got {self.n_min} and {self.n_max}")
        if self.n_primary < 1:
            raise StudyError(f"n_primary must be at least 1, got {self.n_primary}")
        if not 0 < self.alpha < 0.5 or not 0 <= self.give_up < 1:
            raise StudyError(f"need 0 < alpha < 0.5 and 0 <= give_up < 1, got {self.alpha} and {self.give_up}")

    @classmethod
    def of_study(cls, study: Study) -> Rule:
        """The rule that ``study`` registers."""
        return cls(
            margin=study.margin,
            alpha=study.alpha,
            n_min=study.min_seeds,
            n_max=study.max_seeds,
            n_primary=len(study.primary) + len(study.contrasts),
            give_up=study.give_up,
            first_seed=study.first_seed,
        )

    @property
    def error(self) -> float:
        """a = alpha / K, the error rate of one treatment over all looks."""
        return self.alpha / self.n_primary

    @property
    def boundaries(self) -> Boundaries:
        """The critical values of every look; solved once per process and kept."""
        return find_boundaries(self.error, self.n_min, self.n_max)

    def to_json(self) -> dict[str, Any]:
        """Every field by name, the kind of boundary, and its levels a_sign and a_equiv."""
        levels = {"a_sign": self.boundaries.a_sign, "a_equiv": self.boundaries.a_equiv}
        return {**asdict(self), "boundary": _BOUNDARY, **levels}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        """The rule that ``to_json`` wrote. Raises StudyError for another boundary, which an older paribus had."""
        if data["boundary"] != _BOUNDARY:
            raise StudyError(
                f"the rule has the boundary {data['boundary']!r}, this paribus judges by {_BOUNDARY!r} alone: judge it "
                "with the paribus that registered it, or register the study again"
            )
        return cls(**{field.name: data[field.name] for field in fields(cls)})


def describe_method(rule: Rule, sharing: str = "primary treatments") -> str:
    """How the verdict is reached, in three sentences for the report, with the percentages of this very rule.

    ``sharing`` says what the K are that share the error rate.
    """
    looks = rule.n_max - rule.n_min + 1
    first, last = _ordinal(rule.n_min), _ordinal(rule.n_max)
    when = f"After every seed pair from the {first} to the {last}" if looks > 1 else f"After the {first} seed pair"
    rounds = {1: "looking once", 2: "looking twice"}.get(looks, f"looking {_numeral(looks)} times")
    shared = "" if rule.n_primary == 1 else f" over all {_numeral(rule.n_primary)} {sharing} together"
    most = f"wrong at most {_percent(rule.alpha)} of the time{shared}"
    levels = rule.boundaries
    level = _percent(1 - levels.a_sign)
    drawn = f"an ordinary paired-t interval, but at {level} instead of 95 %, so that {rounds} is {most}"
    if looks == 1 and rule.n_primary == 1:
        drawn = f"an ordinary paired-t interval at {level}, which is {most}"
    unlikely = " or a verdict has become unlikely" if rule.give_up > 0 and looks > 1 else ""
    return (
        f"{when} we draw {drawn}. We stop when it lies on one side of zero (better / worse), when a "
        f"{_percent(1 - levels.a_equiv)} interval lies inside the margin (equivalent), or when {_numeral(rule.n_max)} "
        f"pairs are used up{unlikely} (undecided, with the seeds that would settle it). Where it lies on one side of "
        "zero and inside the margin too, the verdict is equivalent: a real but negligible gain or loss."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _numeral(n: int) -> str:
    return _NUMERALS[n] if n < len(_NUMERALS) else str(n)


def _ordinal(n: int) -> str:
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"
