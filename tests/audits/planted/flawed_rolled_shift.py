"""A shift by one token with torch.roll: the first position reads the last one."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class TokenShift(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.now = nn.Linear(d_model, 2 * d_model, bias=False)
        self.earlier = nn.Linear(d_model, 2 * d_model, bias=False)

    def forward(self, x):
        a, b = self.now(x), self.earlier(torch.roll(x, 1, dims=1))
        gate, value = (a + b).chunk(2, dim=-1)
        return gate.sigmoid() * value


study = make_study(pb.Arm(BASELINE.replace("*.mixer", pb.spec(TokenShift)), match="flops", width="*.mlp.d_ff"))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
