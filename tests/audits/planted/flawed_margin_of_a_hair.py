"""A margin that rounding alone crosses, found by running the baseline against itself."""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), margin=1e-8, min_seeds=3, max_seeds=3)
CAUGHT = {"check": "noise floor", "severity": "doubt"}


def spoil(store):
    pb.calibrate(__file__, store, executor="inline")
