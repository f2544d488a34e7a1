"""A benchmark score that no run computes is to decide. (Origin 16.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    metric=pb.Metric("reasoning_score", "points", better="higher"),
    margin=1.0,
)
REFUSED = "no study is judged on 'reasoning_score'"
