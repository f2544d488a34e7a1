"""The optimizer calls its learning rate `step_size`, so that the pairs at half and double the rate cannot be made."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb


class SignDescent(torch.optim.Optimizer):
    """p = p - a sign(gradient)"""

    def __init__(self, params, step_size=0.003):
        super().__init__(params, {"lr": step_size})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign()


study = make_study(
    pb.Arm(BASELINE, TRAINING.replace(optimizer=pb.spec(SignDescent))),
    changes={"idea": ("training.optimizer",)},
    extra_rates=(0.5, 2.0),
)

CAUGHT = {"check": "extra rates", "severity": "note", "arm": "idea", "evidence": {"arms": ["idea"]}}
