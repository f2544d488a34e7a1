"""A late restart at 30 times the learning rate throws the loss, shortly before it is read."""

import math

from ground import BASELINE, TRAINING, make_study

import paribus as pb


class Restarted:
    """A cosine, with one restart to get out of a bad valley."""

    def __init__(self, at: float = 0.95, height: float = 30.0):
        self.at, self.height = at, height

    def __call__(self, step, steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return self.height if step == int(self.at * steps) else cosine


recipe = TRAINING.replace(tokens=180 * 96, schedule=pb.spec(Restarted))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), training=recipe)
CAUGHT = {
    "check": "loss spikes",
    "severity": "note",
    "arm": "idea",
}
