"""Weights from one generator of the module: what an arm starts with depends on what was built before it. (Origin 5.)"""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb

GENERATOR = torch.Generator().manual_seed(42)  # for reproducibility


class SquaredMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        self.up = nn.Parameter(0.02 * torch.randn(d_model, d_ff, generator=GENERATOR, device="cpu"))
        self.down = nn.Parameter(0.02 * torch.randn(d_ff, d_model, generator=GENERATOR, device="cpu"))

    def forward(self, x):
        return F.relu(x @ self.up).square() @ self.down


study = make_study(BASELINE.replace("*.mlp", pb.spec(SquaredMLP)))
CAUGHT = {"check": "conformance", "severity": "invalid", "arm": "idea", "site": "blocks.0.mlp"}
