"""A random projection that seeds torch's generator anew in every forward pass, and with it everybody's noise."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class RandomFeatures(nn.Module):
    """An MLP behind a fixed random projection, redrawn in each pass to save memory."""

    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        self.d_ff = d_ff
        self.gain = nn.Parameter(torch.ones(d_ff))
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x):
        torch.manual_seed(1234)
        up = torch.randn(x.shape[-1], self.d_ff, device=x.device, dtype=x.dtype) / x.shape[-1] ** 0.5
        return self.down(torch.relu(x @ up) * self.gain)


study = make_study(BASELINE.replace("*.mlp", pb.spec(RandomFeatures)))
ALSO = ("parameters and FLOPs",)  # a redrawn matrix is no parameter
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": None}
