"""A constructor that seeds torch for reproducibility: every replicate starts with the same weights in this part."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SeededMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


study = make_study(BASELINE.replace("*.mlp", pb.spec(SeededMLP)))
CAUGHT = {"check": "conformance", "severity": "note", "arm": "idea", "site": "blocks.0.mlp"}
