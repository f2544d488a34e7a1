"""What a tuning tried and what it chose, as a registration holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paribus.design.plain import to_plain
from paribus.design.tuning import Point


@dataclass(frozen=True)
class Trial:
    """One point that an arm was tried with.

    Args:
        digests: of its runs, in the order of the tuning's seeds.
        values: the metric in each of them; None where it diverged.
        value: their mean; None where a run diverged.
        unmeasured: the digests of the same trainings without a metric of the user's own; None where they are these.
    """

    point: Point
    digests: tuple[str, ...]
    values: tuple[float | None, ...]
    value: float | None
    unmeasured: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name; ``unmeasured`` only where there are such."""
        return {name: to_plain(value) for name, value in vars(self).items() if name != "unmeasured" or value}


@dataclass(frozen=True)
class TunedArm:
    """The trials of an arm, the point that was chosen, and the hyper-parameters whose best value is at the edge."""

    curve: tuple[Trial, ...]
    best: Point
    edges: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """A tuning that has ended.

    Args:
        over, trials, seeds, first_seed, extensions: of the ``Tuning``, its grid as it had grown at the end.
        run_seeds: that every trial ran on.
        points_added: by which the grid grew.
        stopped_by: why it did not grow further, where a trial failed.
    """

    over: Mapping[str, tuple[float, ...]]
    trials: int | None
    seeds: int
    first_seed: int
    extensions: int
    run_seeds: tuple[int, ...]
    points_added: int
    stopped_by: str | None
    arms: Mapping[str, TunedArm]

    @property
    def n_trials(self) -> int:
        """Trials of each arm."""
        return max(len(arm.curve) for arm in self.arms.values())
