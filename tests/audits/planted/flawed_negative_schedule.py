"""A linear decay that is aimed at nine tenths of the run, and goes on below zero: the last steps go uphill."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb


class LinearDecay:
    def __init__(self, until: float = 0.9):
        self.until = until

    def __call__(self, step, steps):
        return 1 - step / (self.until * steps)


recipe = TRAINING.replace(schedule=pb.spec(LinearDecay))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe)
CAUGHT = {"check": "planned schedule", "severity": "doubt", "arm": None}
