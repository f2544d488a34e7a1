"""From records to verdicts: boundaries, comparisons, verdicts. numpy and scipy; no torch.

The flow: ``gather`` the evidence of a registered study, ``add`` each run that finishes, ``decide_all`` judges it.
"""

from paribus.judgement.boundaries import Boundaries, crossing_probability, find_boundaries
from paribus.judgement.comparison import Comparison, compare, sign_flip_p
from paribus.judgement.document_noise import estimate_document_error
from paribus.judgement.evidence import Evidence, gather
from paribus.judgement.judged import Judged, decide_all
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
from paribus.judgement.registration import Registration
from paribus.judgement.report_data import Report
from paribus.judgement.rules import Rule, describe_method
from paribus.judgement.speed import LOG_TIME, TIME_MARGIN, SpeedVerdict, judge_times, pair_times
from paribus.judgement.verdicts import KINDS, Verdict, decide, describe_difference, suspend

__all__ = [
    "KINDS",
    "LOG_TIME",
    "TIME_MARGIN",
    "Boundaries",
    "Comparison",
    "Ending",
    "Evidence",
    "Judged",
    "NullCalibration",
    "Outlook",
    "Pair",
    "Power",
    "Registration",
    "Report",
    "Rule",
    "SpeedVerdict",
    "Verdict",
    "calibrate_null",
    "compare",
    "crossing_probability",
    "decide",
    "decide_all",
    "describe_difference",
    "describe_method",
    "estimate_document_error",
    "find_boundaries",
    "gather",
    "half_widths",
    "judge_times",
    "look",
    "pair_times",
    "plan_seeds",
    "predict_verdict",
    "replay",
    "sign_flip_p",
    "simulate_power",
    "smallest_margin",
    "suspend",
]
