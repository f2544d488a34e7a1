"""Another eps, meant for every norm, that reaches the last one alone. (Origin 4.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("final_norm", pb.spec(pb.nn.LayerNorm, eps=1e-6)))
CAUGHT = {"check": "sites changed", "severity": "note", "arm": "idea", "site": "final_norm"}
