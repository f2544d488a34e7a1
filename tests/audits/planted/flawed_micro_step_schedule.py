"""A cosine counted in micro-steps, of which a step takes five: a run ends at 0.905 of its peak rate. (Origin 9.)"""

import math

from ground import BASELINE, TRAINING, make_study

import paribus as pb

ACCUMULATION = 5


class CosineOverPasses:
    """A cosine over all forward passes of the run: a fifth of it, to (1 + cos(pi / 5)) / 2."""

    def __call__(self, step, steps):
        return 0.5 * (1 + math.cos(math.pi * step / (steps * ACCUMULATION)))


recipe = TRAINING.replace(
    tokens=600 * 120, batch_tokens=120, micro_batch_tokens=120 // ACCUMULATION, schedule=pb.spec(CosineOverPasses)
)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe)
CAUGHT = {
    "check": "planned schedule",
    "severity": "doubt",
    "arm": None,
    "evidence": {"last": (0.9045, 0.9055), "largest": 1.0},
}
