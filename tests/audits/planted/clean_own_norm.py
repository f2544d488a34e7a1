"""A norm of the user's own that divides by the mean absolute value."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class MeanAbsoluteNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.gain * x / (x.abs().mean(-1, keepdim=True) + self.eps)


study = make_study(BASELINE.replace("*norm", pb.spec(MeanAbsoluteNorm)), changes={"idea": ("*norm",)})
