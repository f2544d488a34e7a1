"""Another eps, meant for every norm, that reaches the last one alone, and is the same function there. (Origin 4.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("final_norm", pb.spec(pb.nn.LayerNorm, eps=1e-6)))
CAUGHT = (
    {
        "check": "sites changed",
        "severity": "note",
        "arm": "idea",
        "site": "final_norm",
        "evidence": {"sites_changed": 1, "sites_alike": 5},
    },
    {
        "check": "same function",
        "severity": "note",
        "arm": "idea",
        "evidence": {"other": "baseline", "relative_difference": (1e-9, 1e-5)},
    },
)
