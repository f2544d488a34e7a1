"""Times, judged by the same engine: the difference of log seconds is the log of their ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paribus.errors import JudgementError
from paribus.judgement.comparison import Pair
from paribus.study import Metric

TIME_MARGIN = math.log(1.02)
"""2 %, as a log ratio."""

LOG_TIME = Metric("log_time", "log seconds")
"""Natural logarithm of a time; a difference of .01 is 1 %."""


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
