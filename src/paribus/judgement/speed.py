"""Times, judged by the same engine: the difference of log seconds is the log of their ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.design.metrics import Metric
from paribus.design.plain import to_plain
from paribus.design.study import BASELINE
from paribus.errors import JudgementError
from paribus.judgement.comparison import compare
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import decide
from paribus.store.records import Finding

TIME_MARGIN = math.log(1.02)
"""2 %, as a log ratio."""

LOG_TIME = Metric("log_time", "log seconds")
"""Natural logarithm of a time; a difference of .01 is 1 %."""

SPEEDS = {"better": "faster", "worse": "slower", "equivalent": "equal within 2 %"}
"""Kind of a verdict to what it says of a time; any other kind says nothing: "undecided"."""


@dataclass(frozen=True)
class SpeedVerdict:
    """What may be said of one treatment's time per step.

    Args:
        kind: "faster", "slower", "equal within 2 %" or "undecided".
        ratio: geometric mean over rounds of the treatment's time over the baseline's; None before the first round.
        interval: of the ratio, over all looks and all arms; None before ``n_min`` rounds.
        equivalence_interval: the narrower one that was read for "equal within 2 %".
        rounds: that were read.
        decided: whether more rounds would not be read.
    """

    kind: str
    ratio: float | None
    interval: tuple[float, float] | None
    equivalence_interval: tuple[float, float] | None
    rounds: int
    decided: bool = True

    def to_json(self) -> dict[str, Any]:
        """The fields by name, without ``decided``."""
        return {name: to_plain(value) for name, value in vars(self).items() if name != "decided"}


@dataclass(frozen=True)
class ArmTimes:
    """The times of one arm.

    Args:
        step_seconds: median over the rounds; before the first of them, of the fastest step of the warm-up.
        block_seconds: of both blocks of a round together, round by round.
        cpu_share: the least share of a processor that a round had; None where steps do not run on the CPU.
    """

    first_step_seconds: float
    step_seconds: float
    block_seconds: tuple[float, ...]
    cpu_share: float | None


@dataclass(frozen=True)
class Reference:
    """A fixed computation: its median ``seconds``, the longest over that, and how often it was timed."""

    seconds: float
    spread: float
    times: int


@dataclass(frozen=True)
class BusyTry:
    """An earlier measurement that a busy machine spoiled."""

    rejected_rounds: Mapping[str, int]
    rounds: int


@dataclass(frozen=True)
class MeasuredTimes:
    """Training steps of a study's arms, timed in turn.

    Args:
        margin: what counts as equal, as a share.
        rejected_rounds: why to how many rounds were measured again.
        busy: whether more than a third of the rounds were: nothing is claimed then.
        load_average: over 1, 5 and 15 minutes, before and after; None where the system does not tell.
        threads: of a step; None where steps do not run on the CPU.
        busy_before: earlier measurements.
        findings: what speaks against these times.
    """

    margin: float
    rule: Rule
    rounds: int
    rejected_rounds: Mapping[str, int]
    busy: bool
    steps_per_block: int
    arms: Mapping[str, ArmTimes]
    reference: Reference
    load_average: tuple[tuple[float, ...] | None, ...]
    treatments: Mapping[str, SpeedVerdict]
    device: str = ""
    device_name: str = ""
    threads: int | None = None
    busy_before: tuple[BusyTry, ...] = ()
    findings: tuple[Finding, ...] = ()


def judge_times(seconds: Mapping[str, Sequence[float]], rule: Rule) -> dict[str, SpeedVerdict]:
    """The verdict on each treatment, from every arm's seconds per round; the baseline's are under "baseline".

    A treatment that was decided and is no longer timed has fewer rounds than the baseline: the first ones.
    Raises JudgementError for a time that is not positive and finite.
    """
    baseline = seconds[BASELINE]
    return {
        name: _judge(name, pair_times(baseline[: len(own)], own, rule.first_seed), rule)
        for name, own in seconds.items()
        if name != BASELINE
    }


def pair_times(
    baseline_seconds: Sequence[float], treatment_seconds: Sequence[float], first_seed: int = 0
) -> tuple[Pair, ...]:
    """Pairs for ``compare(..., metric=LOG_TIME)`` with ``Rule(margin=TIME_MARGIN)``.

    Each entry is one block; blocks of the two arms must have been interleaved and warm-up dropped.

    Raises JudgementError for unequal lengths or a time that is not positive and finite.
    """
    if len(baseline_seconds) != len(treatment_seconds):
        raise JudgementError(
            f"{len(baseline_seconds)} blocks of the baseline against {len(treatment_seconds)} of the treatment"
        )
    for seconds in (*baseline_seconds, *treatment_seconds):
        if not 0 < seconds < math.inf:
            raise JudgementError(f"a time must be positive and finite, got {seconds} seconds")
    return tuple(
        Pair(seed=first_seed + i, baseline=math.log(before), treatment=math.log(after))
        for i, (before, after) in enumerate(zip(baseline_seconds, treatment_seconds, strict=True))
    )


def _judge(name: str, pairs: tuple[Pair, ...], rule: Rule) -> SpeedVerdict:
    comparison = compare(name, pairs, rule, LOG_TIME)
    verdict = decide(comparison)
    return SpeedVerdict(
        # a clock too coarse to differ makes all ratios equal: that is no verdict
        kind=SPEEDS.get(verdict.kind, "undecided") if verdict else "undecided",
        decided=verdict is not None,
        ratio=None if comparison.mean is None else math.exp(comparison.mean),
        interval=_ratios(comparison.interval),
        equivalence_interval=_ratios(comparison.equivalence_interval),
        rounds=comparison.n_pairs,
    )


def _ratios(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return interval and (math.exp(interval[0]), math.exp(interval[1]))
