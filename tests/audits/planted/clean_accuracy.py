"""Judged on accuracy, where higher is better and no difference is small in nats."""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), metric=pb.VAL_ACCURACY, margin=0.02, changes={"idea": ("*norm",)}
)
