"""From records to verdicts: boundaries, comparisons, verdicts. numpy and scipy; no torch.

The flow: ``Rule.of_study(study)``; after every finished pair ``compare`` (or ``compare_all``) and ``decide``, which
returns None until the pairs suffice; ``suspend`` where no more pairs come.
"""

from paribus.judgement.boundaries import Boundaries, anytime_bound, crossing_probability, find_boundaries
from paribus.judgement.comparison import Comparison, compare, compare_all, sign_flip_p
from paribus.judgement.document_noise import estimate_document_error
from paribus.judgement.looks import Ending, half_widths, look, predict_verdict, replay
from paribus.judgement.pairs import Pair
from paribus.judgement.planning import Outlook, plan_seeds
from paribus.judgement.power import (
    NullCalibration,
    Power,
    calibrate_null,
    simulate_power,
    smallest_margin,
)
from paribus.judgement.rules import Rule, describe_method
from paribus.judgement.speed import LOG_TIME, TIME_MARGIN, SpeedVerdict, judge_times, pair_times
from paribus.judgement.verdicts import KINDS, Verdict, decide, describe_difference, describe_on, pairs_wanted, suspend

__all__ = [
    "KINDS",
    "LOG_TIME",
    "TIME_MARGIN",
    "Boundaries",
    "Comparison",
    "Ending",
    "NullCalibration",
    "Outlook",
    "Pair",
    "Power",
    "Rule",
    "SpeedVerdict",
    "Verdict",
    "anytime_bound",
    "calibrate_null",
    "compare",
    "compare_all",
    "crossing_probability",
    "decide",
    "describe_difference",
    "describe_method",
    "describe_on",
    "estimate_document_error",
    "find_boundaries",
    "half_widths",
    "judge_times",
    "look",
    "pair_times",
    "pairs_wanted",
    "plan_seeds",
    "predict_verdict",
    "replay",
    "sign_flip_p",
    "simulate_power",
    "smallest_margin",
    "suspend",
]
