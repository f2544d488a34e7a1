"""The new activation comes with a wider MLP, and so with more parameters. (Origin 8.)"""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SquaredReLU(nn.Module):
    """Primer's activation."""

    def __init__(self, d_model: int, d_ff: int = 192):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())


baseline = BASELINE.replace("*.mlp", pb.spec(pb.nn.MLP, d_ff=128))
study = make_study(baseline.replace("*.mlp", pb.spec(SquaredReLU)), baseline, changes={"idea": ("*.mlp",)})
CAUGHT = {"check": "parameters and FLOPs", "severity": "doubt", "arm": "idea"}
