"""Both arms are trained by an optimizer whose noise comes from numpy, which nobody seeds: no run can be repeated."""

import numpy as np
import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb


class Langevin(torch.optim.AdamW):
    """AdamW with a little noise on the weights after each step."""

    def __init__(self, params, lr=1e-3, noise=1e-3):
        super().__init__(params, lr=lr)
        self.noise = noise

    @torch.no_grad()
    def step(self):
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(torch.from_numpy(np.random.randn(*p.shape).astype("float32")), alpha=self.noise)


recipe = TRAINING.replace(optimizer=pb.spec(Langevin, lr=0.01))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe)
CAUGHT = {"check": "unsteady training", "severity": "doubt", "evidence": {"arms": ["baseline", "idea"], "step": 1}}
