"""How hyper-parameters are tuned: the same trials for every arm, on seeds of their own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import optional

from paribus.design.fields import count, known_fields
from paribus.design.plain import fields_to_plain
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.wording import nearest
from paribus.errors import SpecError, StudyError

LEARNING_RATE = "learning_rate"
"""The hyper-parameter that multiplies every learning rate of the optimizer."""

_TUNABLE = ("optimizer", "schedule", "clip")

Point = Mapping[str, float]
"""Hyper-parameter to the value that is tried."""


def _read_values(over: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    """Hyper-parameters to tuples of their values. Raises StudyError for what cannot be tried."""
    if not isinstance(over, Mapping) or not over:
        raise StudyError(f'Tuning: over is a dict such as {{"{LEARNING_RATE}": (0.5, 1, 2)}}, got {over!r}')
    for name, values in over.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < 2:
            raise StudyError(f"Tuning: {name} needs at least two values to choose from, got {values!r}")
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            raise StudyError(f"Tuning: the values of {name} must be finite numbers, got {values!r}")
        if list(values) != sorted(set(values)):
            raise StudyError(f"Tuning: the values of {name} must ascend without repeats, got {values!r}")
    return MappingProxyType({name: tuple(values) for name, values in over.items()})


@known_fields
@frozen(kw_only=True)
class Tuning:
    """Equal effort for every arm: the same trials over the same hyper-parameters, judged on the study's metric.

    Args:
        over: hyper-parameter to its values, ascending. "learning_rate" multiplies every learning rate of the
            optimizer; "clip", or a path below "optimizer" or "schedule", such as "optimizer.weight_decay", takes the
            value. Nothing else can be tuned: the arms keep equal tokens, batches and evaluation.
        trials: None for every combination of the values, or so many quasi-random points (Sobol 1967), log-uniform
            between the smallest and the largest value.
        seeds: runs of each trial; their mean decides.
        first_seed: the trials run on ``first_seed, first_seed + 1, ...``, none of which is a seed of the verdict.
        extensions: how often a grid whose best value for some arm stands at its edge grows there by one value, for
            all arms: by the last ratio of its values, or their last difference where one is not positive. It never
            grows below 0. A best value that is still at the edge is a finding.

    Raises StudyError for values that cannot be tried.
    """

    over: Mapping[str, Sequence[float]] = field(
        factory=lambda: {LEARNING_RATE: (0.25, 0.5, 1.0, 2.0, 4.0)}, converter=_read_values
    )
    trials: int | None = field(default=None, validator=optional(count(2, of="Tuning: ")))
    seeds: int = field(default=1, validator=count(of="Tuning: "))
    first_seed: int = field(default=5_000, validator=count(0, of="Tuning: "))
    extensions: int = field(default=2, validator=count(0, of="Tuning: "))

    def __attrs_post_init__(self) -> None:
        for name, values in self.over.items():
            if values[0] <= 0 and (name == LEARNING_RATE or self.trials is not None):
                raise StudyError(f"Tuning: the values of {name} must be positive, got {values!r}")

    @property
    def run_seeds(self) -> range:
        """The seeds that every trial runs on."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def points(self) -> tuple[dict[str, float], ...]:
        """What every arm is tried with, in order."""
        if self.trials is not None:
            return tuple(self._draw())
        combinations = itertools.product(*self.over.values())
        return tuple(dict(zip(self.over, values, strict=True)) for values in combinations)

    def _draw(self) -> list[dict[str, float]]:
        from scipy.stats import qmc

        assert self.trials is not None
        ends = [(math.log(values[0]), math.log(values[-1])) for values in self.over.values()]
        sobol = qmc.Sobol(len(ends), scramble=True, rng=self.first_seed)
        # Whole powers of two keep the points balanced; a shorter head of them is as good as one can have.
        unit = sobol.random_base2(math.ceil(math.log2(self.trials)))[: self.trials]
        return [
            {name: math.exp(low + u * (high - low)) for name, (low, high), u in zip(self.over, ends, row, strict=True)}
            for row in unit
        ]

    def extend(self, name: str, upwards: bool) -> Tuning:
        """This grid with one more value of ``name`` beyond its edge, as far again as the last step went.

        Positive values grow by their last ratio, others by their last difference; whole numbers stay whole.
        """
        values = self.over[name]
        last, before = (values[-1], values[-2]) if upwards else (values[0], values[1])
        new = last * last / before if values[0] > 0 else 2 * last - before
        new = round(new) if all(isinstance(value, int) for value in values) else float(f"{new:.12g}")
        grown = (*values, new) if upwards else (new, *values)
        return attrs.evolve(self, over={**self.over, name: grown})

    def is_edge(self, name: str, value: float) -> bool:
        """Whether ``value`` is the smallest or the largest that was tried, and the best may lie beyond it.

        0 is no edge below: nothing lies beyond it. Of quasi-random points those in an outer band of the range (in
        logs) count, so narrow that 5 % of all points lie in one for some hyper-parameter.
        """
        low, high = self.over[name][0], self.over[name][-1]
        if self.trials is None:
            return value == high or (value == low and low != 0)
        band = (1 - 0.95 ** (1 / len(self.over))) / 2
        place = math.log(value / low) / math.log(high / low)
        return not band <= place <= 1 - band

    def to_json(self) -> dict[str, Any]:
        """Every field by name, as plain values."""
        return fields_to_plain(self)


def learning_rates(optimizer: Spec) -> dict[str, float]:
    """The learning rates of an optimizer by the name of their argument: ``lr``, and ``..._lr`` beside it."""
    return {
        name: value
        for name, value in optimizer.resolved().items()
        if "lr" in name.split("_") and isinstance(value, int | float) and not isinstance(value, bool)
    }


def set_hyperparameters(training: Training, point: Point) -> Training:
    """``training`` with the values of ``point`` in place.

    Raises StudyError for an optimizer without a learning rate and for a path that the recipe does not have.
    """
    for name, value in point.items():
        if name == LEARNING_RATE:
            training = _scale_learning_rates(training, value)
        else:
            training = _put(training, name, value)
    return training


def _scale_learning_rates(training: Training, factor: float) -> Training:
    optimizer = training.optimizer
    rates = learning_rates(optimizer)
    if not rates:
        raise StudyError(
            f"{optimizer.cls.__name__} has no learning rate to multiply: it takes no argument lr; "
            'name a path of the recipe instead, such as "optimizer.step_size"'
        )
    for name, rate in rates.items():
        optimizer = optimizer.replace(name, rate * factor)
    return training.replace(optimizer=optimizer)


def _put(training: Training, path: str, value: float) -> Training:
    field_name, _, rest = path.partition(".")
    if field_name not in _TUNABLE:
        if field_name in attrs.fields_dict(type(training)):
            raise StudyError(f"{path!r} cannot be tuned: the arms keep equal tokens, batches and evaluation")
        known = [LEARNING_RATE, *_TUNABLE, *(f"optimizer.{name}" for name in training.optimizer.resolved())]
        close = next((name for name in known if name.endswith(f".{path}")), None) or nearest(path, known)
        hint = f"did you mean {close!r}?" if close else "it is a path below optimizer or schedule, or clip"
        also = f" {LEARNING_RATE!r} multiplies every rate" if field_name == "lr" else ""
        raise StudyError(f"no hyper-parameter {path!r}; {hint}{also}")
    if not rest:
        if field_name != "clip":
            raise StudyError(f'{path!r} has no value of its own; name one below it, such as "{path}.weight_decay"')
        return training.replace(clip=value)
    inner = getattr(training, field_name)
    if not isinstance(inner, Spec):
        raise StudyError(f"no hyper-parameter {path!r}: the recipe's {field_name} is {inner!r}, no spec")
    try:
        return training.replace(**{field_name: inner.replace(rest, value)})
    except SpecError as error:
        raise StudyError(f"no hyper-parameter {path!r}: {error}") from None
