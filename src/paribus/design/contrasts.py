"""A contrast: one number per seed from several arms, with weights that sum to zero."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from paribus.design.wording import suggest
from paribus.errors import StudyError

_ROUNDING = 2.0**-52  # of every weight: how far a sum may be off


@dataclass(frozen=True)
class Contrast:
    """The sum over arms of weight times metric, on each seed.

    Args:
        weights: arm to weight, the baseline under its name. An arm that is not named has weight 0. The positive ones
            sum to 1 and the negative ones to -1: it is a difference of two means, on the scale of the margin.
        effects: what it estimates in a factorial design, by factors: the effect it stands for (one factor: a main
            effect, several: their interaction), then the effects it cannot be told from. Empty: neither.
    """

    weights: Mapping[str, float]
    effects: tuple[tuple[str, ...], ...] = ()

    @property
    def factors(self) -> tuple[str, ...]:
        """Those of the effect it stands for."""
        return self.effects[0] if self.effects else ()

    @property
    def noise(self) -> float:
        """Its standard deviation in units of a pair's, where all arms are equally noisy and share none of it."""
        return math.sqrt(sum(weight * weight for weight in self.weights.values()) / 2)

    def aliases(self, most_factors: int) -> tuple[str, ...]:
        """The effects of at most so many factors that it cannot be told from, such as ``C:D``.

        One that enters with the opposite sign has a minus in front. With generators that hold the baseline, all off,
        that is an effect whose number of factors is even where that of the effect is odd, or the other way round.
        """
        return tuple(
            ("-" if (len(effect) - len(self.factors)) % 2 else "") + ":".join(effect)
            for effect in self.effects[1:]
            if len(effect) <= most_factors
        )

    def to_json(self) -> dict[str, Any]:
        """``weights``, and ``effects`` as lists of factors."""
        return {"weights": dict(self.weights), "effects": [list(effect) for effect in self.effects]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Contrast:
        """The contrast that ``to_json`` wrote."""
        return Contrast(MappingProxyType(dict(data["weights"])), tuple(map(tuple, data["effects"])))


def read_contrasts(contrasts: Any, arms: Collection[str]) -> Mapping[str, Contrast]:
    """``contrasts`` by name, plain weights made a ``Contrast``, zero weights left out.

    Raises StudyError for an arm that is not among ``arms``, weights that do not sum to zero or are all zero, positive
    weights that do not sum to 1, and a name that is blank, not printable or an arm's.
    """
    if not isinstance(contrasts, Mapping):
        raise StudyError(f"contrasts must be a dict from a contrast's name to its weights, got {contrasts!r}")
    return MappingProxyType({name: _read_contrast(name, value, arms) for name, value in contrasts.items()})


def _read_contrast(name: Any, value: Any, arms: Collection[str]) -> Contrast:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name in arms:
        raise StudyError(f"a contrast cannot be called {name!r}" + (": an arm is" if name in arms else ""))
    if name != name.strip():
        raise StudyError(f"a contrast cannot be called {name!r}, with blanks around it; write {name.strip()!r}")
    contrast = value if isinstance(value, Contrast) else Contrast(value)
    if not isinstance(contrast.weights, Mapping):
        raise StudyError(f"contrast {name!r} must be a dict from an arm to its weight, got {contrast.weights!r}")
    for arm in contrast.weights:
        if arm not in arms:
            raise StudyError(f"contrast {name!r} names no arm {arm!r}; {suggest(arm, arms)}")
    weights = {arm: _read_weight(name, arm, weight) for arm, weight in contrast.weights.items()}
    used = {arm: weight for arm, weight in weights.items() if weight}
    _require_scale(name, used)
    _require_effects(name, contrast.effects)
    return Contrast(MappingProxyType(used), contrast.effects)


def _read_weight(name: str, arm: str, weight: Any) -> float:
    try:
        number = math.nan if isinstance(weight, bool) or not isinstance(weight, numbers.Real) else float(weight)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise StudyError(f"contrast {name!r}: the weight of {arm!r} must be a finite number, got {repr(weight)[:40]}")
    return number


def _require_scale(name: str, weights: Mapping[str, float]) -> None:
    """Raise StudyError unless the weights sum to 0, and the positive ones to 1."""
    if not weights:
        raise StudyError(f"contrast {name!r}: all weights are zero")
    rounding = _ROUNDING * len(weights) * max(map(abs, weights.values()))
    if abs(total := _sum(weights.values())) > rounding:
        raise StudyError(
            f"contrast {name!r}: the weights sum to {total:.4g}; those of a contrast sum to 0, so that arms that are "
            "all equal make it 0 (write 1 / 3, not 0.333)"
        )
    scale = _sum(weight for weight in weights.values() if weight > 0)
    if abs(scale - 1) > rounding:
        rescaled = {arm: weight / scale for arm, weight in weights.items()}
        raise StudyError(
            f"contrast {name!r}: the positive weights sum to {scale:.4g}; they sum to 1, so that the margin means what "
            f"it says; write {rescaled!r}"
        )


def _sum(weights: Iterable[float]) -> float:
    try:
        return math.fsum(weights)
    except OverflowError:
        return math.inf


def _require_effects(name: str, effects: Any) -> None:
    def is_tuple_of(kind: type, value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(item, kind) and item for item in value)

    if not is_tuple_of(tuple, effects) or not all(is_tuple_of(str, effect) for effect in effects):
        raise StudyError(
            f'contrast {name!r}: effects is a tuple of tuples of factors, such as (("A",),) or (("A", "B"),), got '
            f"{effects!r}"
        )
