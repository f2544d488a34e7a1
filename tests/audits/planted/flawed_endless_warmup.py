"""A warm-up given in steps of the long run that the recipe was copied from: this one ends inside it."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb


class InverseSquareRoot:
    """Linear warm-up over 4,000 steps, then 1 / sqrt(step), scaled to 1 at the top."""

    def __call__(self, step, steps):
        return min((step + 1) / 4000, (4000 / (step + 1)) ** 0.5)


recipe = TRAINING.replace(schedule=pb.spec(InverseSquareRoot))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe)
CAUGHT = {"check": "planned schedule", "severity": "note", "arm": None}
