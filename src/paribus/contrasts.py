"""A contrast: one number per seed from several arms, with weights that sum to zero."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from paribus.errors import StudyError

_ROUNDING = 1e-9  # of the largest weight: how far from zero a sum of weights may be


@dataclass(frozen=True)
class Contrast:
    """The sum over arms of weight times metric, on each seed.

    Args:
        weights: arm to weight, the baseline under its name. An arm that is not named has weight 0.
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

    Raises StudyError for an arm that is not among ``arms``, weights that do not sum to zero or are all zero, and a name
    that is blank, not printable or an arm's.
    """
    if not isinstance(contrasts, Mapping):
        raise StudyError(f"contrasts must be a dict from a contrast's name to its weights, got {contrasts!r}")
    return MappingProxyType({name: _read_contrast(name, value, arms) for name, value in contrasts.items()})


def _read_contrast(name: Any, value: Any, arms: Collection[str]) -> Contrast:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or name in arms:
        raise StudyError(f"a contrast cannot be called {name!r}" + (": an arm is" if name in arms else ""))
    contrast = value if isinstance(value, Contrast) else Contrast(value)
    weights = contrast.weights
    if not isinstance(weights, Mapping):
        raise StudyError(f"contrast {name!r} must be a dict from an arm to its weight, got {weights!r}")
    for arm, weight in weights.items():
        if arm not in arms:
            close = difflib.get_close_matches(str(arm), arms, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(map(repr, arms))}"
            raise StudyError(f"contrast {name!r} names no arm {arm!r}; {hint}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise StudyError(f"contrast {name!r}: the weight of {arm!r} must be a finite number, got {weight!r}")
    used = {arm: float(weight) for arm, weight in weights.items() if weight}
    if not used:
        raise StudyError(f"contrast {name!r}: all weights are zero")
    if abs(total := math.fsum(used.values())) > _ROUNDING * max(map(abs, used.values())):
        raise StudyError(
            f"contrast {name!r}: the weights sum to {total:.4g}; those of a contrast sum to 0, so that arms that are "
            "all equal make it 0"
        )
    return Contrast(MappingProxyType(used), contrast.effects)
