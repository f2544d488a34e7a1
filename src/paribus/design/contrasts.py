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
        factors: of a factorial design: one for a main effect, several for their interaction. Empty: it is neither.
    """

    weights: Mapping[str, float]
    factors: tuple[str, ...] = ()

    @property
    def noise(self) -> float:
        """Its standard deviation in units of a pair's, where all arms are equally noisy and share none of it."""
        return math.sqrt(sum(weight * weight for weight in self.weights.values()) / 2)

    def to_json(self) -> dict[str, Any]:
        """``weights`` and ``factors``."""
        return {"weights": dict(self.weights), "factors": list(self.factors)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Contrast:
        """The contrast that ``to_json`` wrote; an older paribus wrote ``effects``, the factors first among them."""
        factors = data["factors"] if "factors" in data else next(iter(data["effects"]), ())
        return Contrast(MappingProxyType(dict(data["weights"])), tuple(factors))


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
    if not isinstance(contrast.factors, tuple) or not all(isinstance(f, str) and f for f in contrast.factors):
        raise StudyError(f'contrast {name!r}: factors is a tuple of names such as ("A", "B"), got {contrast.factors!r}')
    return Contrast(MappingProxyType(used), contrast.factors)


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
