"""The margin is widened once the verdict on the first one is known, and the same runs are judged anew."""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    return pb.run(study.replace(margin=0.3), store, executor="inline").report.name


CAUGHT = {"check": "repeated look", "severity": "doubt"}
