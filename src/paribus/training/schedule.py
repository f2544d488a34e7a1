"""Learning-rate schedules: a factor between 0 and 1 per optimizer step.

A schedule is any class whose instances map ``(step, steps)``, step counted from 0, to the factor by
which every group's learning rate is multiplied. All of ours warm up linearly over ``warmup`` (a share of
the steps) and then fall to ``floor``, which is reached where a step ``steps`` would be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from paribus.design.recipe import Training
from paribus.errors import TrainingError


def build_schedule(training: Training) -> Callable[[int], float]:
    """Step, counted from 0, to its share of the peak learning rate; a step after the last has the last one's."""
    schedule = training.schedule.cls(**dict(training.schedule.arguments)) if training.schedule else Cosine()
    return lambda step: schedule(min(step, training.steps - 1), training.steps)


@dataclass(frozen=True)
class Constant:
    """factor = min(1, (step + 1) / (warmup steps))"""

    warmup: float = 0.05

    def __post_init__(self) -> None:
        _check(self.warmup, 1.0)

    def __call__(self, step: int, steps: int) -> float:
        return min(1.0, (step + 1) / max(1, math.ceil(self.warmup * steps)))


@dataclass(frozen=True)
class Cosine:
    """factor = floor + (1 - floor) (1 + cos(pi p)) / 2, p = share of the decay done

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """

    warmup: float = 0.05
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check(self.warmup, self.floor)

    def __call__(self, step: int, steps: int) -> float:
        warming, done = _phase(step, steps, self.warmup)
        return warming * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Linear:
    """factor = 1 - (1 - floor) p, p = share of the decay done"""

    warmup: float = 0.05
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check(self.warmup, self.floor)

    def __call__(self, step: int, steps: int) -> float:
        warming, done = _phase(step, steps, self.warmup)
        return warming * (1 - (1 - self.floor) * done)


@dataclass(frozen=True)
class WarmupStableDecay:
    """factor = 1 until the last ``decay`` share of the steps, then linear to floor

    Source: Hu et al. 2024, arXiv:2404.06395, section 4; the decay is linear.
    """

    warmup: float = 0.05
    decay: float = 0.2
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check(self.warmup, self.floor)
        if not 0 < self.decay <= 1 - self.warmup:
            raise TrainingError(f"decay must lie in (0, 1 - warmup], got {self.decay} with warmup {self.warmup}")

    def __call__(self, step: int, steps: int) -> float:
        warming, _ = _phase(step, steps, self.warmup)
        decay_steps = max(1, math.ceil(self.decay * steps))
        done = max(0.0, (step - (steps - decay_steps)) / decay_steps)
        return warming * (1 - (1 - self.floor) * done)


def _phase(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """The warm-up factor, and the share of the steps after warm-up that lie behind ``step``."""
    warmup_steps = math.ceil(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps, 0.0
    return 1.0, (step - warmup_steps) / max(1, steps - warmup_steps)


def _check(warmup: float, floor: float) -> None:
    if not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise TrainingError(f"need 0 <= warmup < 1 and 0 <= floor <= 1, got warmup {warmup} and floor {floor}")


LEFT_OVER = 0.15  # of the peak learning rate, at the end of a schedule that decays
