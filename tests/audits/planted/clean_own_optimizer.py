"""Both arms are trained by an optimizer of the user's own, the sign of a momentum (Lion)."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb


class Lion(torch.optim.Optimizer):
    """p -= lr (sign(b1 m + (1 - b1) g) + weight_decay p),  m = b2 m + (1 - b2) g   (Chen et al. 2023)"""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            fast, slow = group["betas"]
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * torch.lerp(p.grad, m, fast).sign())
                    m.lerp_(p.grad, 1 - slow)


recipe = TRAINING.replace(optimizer=pb.spec(Lion, lr=0.003))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
