"""A norm whose running mean also follows the batches that it is scored on."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class RunningNorm(nn.Module):
    def __init__(self, dim: int, momentum: float = 0.1):
        super().__init__()
        self.momentum = momentum
        self.gain = nn.Parameter(torch.ones(dim))
        self.register_buffer("scale", torch.ones(dim))

    def forward(self, x):
        y = x / self.scale.sqrt()
        with torch.no_grad():
            self.scale.lerp_(x.square().mean((0, 1)) + 1e-5, self.momentum)
        return self.gain * y


study = make_study(BASELINE.replace("final_norm", pb.spec(RunningNorm)))
CAUGHT = {"check": "state between passes", "severity": "invalid", "arm": "idea", "site": "final_norm"}
