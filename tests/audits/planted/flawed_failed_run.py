"""The treatment's own optimizer fails late in every run, and the verdict is to be read off the baseline's."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb


class LoggedAdamW(torch.optim.AdamW):
    """AdamW that counts its steps for a log of twenty lines."""

    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, lr=lr)
        self.log = [0.0] * 20
        self.taken = 0

    def step(self, closure=None):
        loss = super().step(closure)
        self.log[self.taken] = self.param_groups[0]["lr"]
        self.taken += 1
        return loss


logged = TRAINING.replace(optimizer=pb.spec(LoggedAdamW, lr=0.01))
study = make_study(pb.Arm(BASELINE, logged), changes={"idea": ("training.optimizer",)})
CAUGHT = {
    "check": "seeds",
    "severity": "invalid",
    "arm": "idea",
    "evidence": {"failed": {"0": "IndexError: list assignment index out of range (flawed_failed_run.py:19 in step)"}},
}
