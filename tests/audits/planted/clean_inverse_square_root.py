"""A schedule of the user's own that is still at a fifth of its peak when the run ends: a note, and no more."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb


class InverseSquareRoot:
    """Linear warm-up, then 1 / sqrt(step), 1 at the top (Vaswani et al. 2017, section 5.3)."""

    def __init__(self, warmup_steps: int = 2):
        self.warmup_steps = warmup_steps

    def __call__(self, step, steps):
        n = step + 1
        return min(n / self.warmup_steps, (self.warmup_steps / n) ** 0.5)


recipe = TRAINING.replace(schedule=pb.spec(InverseSquareRoot))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
