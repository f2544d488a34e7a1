"""The seeds that would settle an undecided comparison, found by simulating a new registration."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from paribus.design.streams import derive
from paribus.design.study import MOST_SEEDS
from paribus.judgement.looks import Ending, replay
from paribus.judgement.rules import Rule

WANTED_CHANCE = 0.8
_EXPERIMENTS = 2_000  # the standard error of a simulated chance is below .011


@dataclass(frozen=True)
class Outlook:
    """What a new registration on fresh seeds would need.

    Args:
        seeds: its ``max_seeds``, so that a verdict falls with chance ``chance``; it may take fewer.
        chance: chance of a verdict if the true difference and its standard deviation are what was seen.
        by: "simulation", or "extrapolation" beyond the largest registration that is allowed (a normal
            approximation, ``chance`` is then the one aimed at).
    """

    seeds: int
    chance: float
    by: str


@lru_cache(maxsize=256)
def plan_seeds(mean: float, sd: float, rule: Rule) -> Outlook | None:
    """The smallest registration that settles it with a chance of 80 %, taking ``mean`` and ``sd`` for the truth.

    Each size is judged by ``replay`` itself on the same 2,000 simulated experiments; sizes are bisected. None
    where no number of seeds would do (no difference and no margin).
    """
    largest = _chance(MOST_SEEDS, mean, sd, rule)
    if largest < WANTED_CHANCE:
        return _extrapolate(mean, sd, rule)
    low, high, chance = rule.n_min - 1, MOST_SEEDS, largest
    while high - low > 1:
        middle = (low + high) // 2
        there = _chance(middle, mean, sd, rule)
        if there >= WANTED_CHANCE:
            high, chance = middle, there
        else:
            low = middle
    return Outlook(high, chance, "simulation")


def _chance(n_max: int, mean: float, sd: float, rule: Rule) -> float:
    rng = np.random.default_rng(derive(rule.first_seed, "seeds that would settle it"))
    noise = rng.standard_normal((_EXPERIMENTS, MOST_SEEDS))[:, :n_max]
    endings, _ = replay(mean + sd * noise, replace(rule, n_max=n_max))
    return float(np.isin(endings, (Ending.EQUIVALENT, Ending.BETTER, Ending.WORSE)).mean())


def _extrapolate(mean: float, sd: float, rule: Rule) -> Outlook | None:
    """n = ((critical value + z) sd / distance)^2 for a sign verdict and for an equivalence; the smaller one."""
    from scipy.special import ndtri

    widest = replace(rule, n_max=MOST_SEEDS).boundaries
    room = rule.margin - abs(mean)
    needs = []
    if mean != 0:
        needs.append(((widest.c[MOST_SEEDS] + ndtri(WANTED_CHANCE)) * sd / abs(mean)) ** 2)
    if room > 0:
        needs.append(((widest.e[MOST_SEEDS] + ndtri((1 + WANTED_CHANCE) / 2)) * sd / room) ** 2)
    needs = [need for need in needs if need < 1e9]
    return Outlook(max(MOST_SEEDS + 1, math.ceil(min(needs))), WANTED_CHANCE, "extrapolation") if needs else None
