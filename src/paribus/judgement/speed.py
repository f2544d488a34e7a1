"""Times, judged by the same engine: the difference of log seconds is the log of their ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paribus.design.metrics import Metric
from paribus.design.study import BASELINE
from paribus.errors import JudgementError
from paribus.judgement.comparison import compare
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import decide

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
        decided: whether more rounds would not be read.
        ratio: geometric mean over rounds of the treatment's time over the baseline's; None before the first round.
        interval: of the ratio, over all looks and all arms; None before ``n_min`` rounds.
        equivalence_interval: the narrower one that was read for "equal within 2 %".
        rounds: that were read.
    """

    kind: str
    decided: bool
    ratio: float | None
    interval: tuple[float, float] | None
    equivalence_interval: tuple[float, float] | None
    rounds: int

    def to_json(self) -> dict[str, Any]:
        plain = {key: value for key, value in asdict(self).items() if key != "decided"}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


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
