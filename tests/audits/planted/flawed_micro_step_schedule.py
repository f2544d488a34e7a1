"""A cosine counted in micro-steps, but moved once an optimizer step: the run ends at 0.905 of its peak. (Origin 9.)"""

import math

from ground import BASELINE, TRAINING, make_study

import paribus as pb

ACCUMULATION = 5


class WarmupCosine:
    """Linear warm-up, then cosine, over all forward passes of the run."""

    def __init__(self, warmup: float = 0.05):
        self.warmup = warmup

    def __call__(self, step, steps):
        total = steps * ACCUMULATION
        warm = math.ceil(self.warmup * total)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


recipe = TRAINING.replace(
    tokens=30 * 120, batch_tokens=120, micro_batch_tokens=120 // ACCUMULATION, schedule=pb.spec(WarmupCosine)
)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe)
CAUGHT = {"check": "planned schedule", "severity": "doubt", "arm": None}
