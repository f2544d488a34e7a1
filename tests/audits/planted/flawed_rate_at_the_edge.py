"""A learning rate "tuned" on a grid that ends below the best one. (Origin 13.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    tuning=pb.Tuning(over={"learning_rate": (0.01, 0.02, 0.04)}, extensions=0),
)
CAUGHT = (
    {"check": "tuning", "severity": "doubt", "arm": "idea", "evidence": {"edges": ["learning_rate"]}},
    {"check": "tuning", "severity": "doubt", "arm": "baseline", "evidence": {"edges": ["learning_rate"]}},
)
