"""From records to verdicts: boundaries, comparisons, verdicts. numpy and scipy; no torch.

The flow: ``Rule.of_study(study)``; after every finished pair ``compare`` (or ``compare_all``) and ``decide``, which
returns None until the pairs suffice; ``suspend`` where no more pairs come.
"""

from paribus.judgement.boundaries import Boundaries, anytime_bound, crossing_probability, find_boundaries
from paribus.judgement.comparison import Comparison, Pair, compare, compare_all, sign_flip_p
from paribus.judgement.documents import estimate_document_error
from paribus.judgement.looks import Ending, half_widths, look, predict_verdict, replay
from paribus.judgement.planning import Outlook, plan_seeds
from paribus.judgement.rules import Rule, describe_method
from paribus.judgement.times import LOG_TIME, TIME_MARGIN, pair_times
from paribus.judgement.verdicts import KINDS, Verdict, decide, describe_difference, pairs_wanted, suspend

__all__ = [
    "KINDS",
    "LOG_TIME",
    "TIME_MARGIN",
    "Boundaries",
    "Comparison",
    "Ending",
    "Outlook",
    "Pair",
    "Rule",
    "Verdict",
    "anytime_bound",
    "compare",
    "compare_all",
    "crossing_probability",
    "decide",
    "describe_difference",
    "describe_method",
    "estimate_document_error",
    "find_boundaries",
    "half_widths",
    "look",
    "pair_times",
    "pairs_wanted",
    "plan_seeds",
    "predict_verdict",
    "replay",
    "sign_flip_p",
    "suspend",
]
