"""F.dropout without `training=self.training`: the model is scored with a tenth of its features missing."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class DroppingMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int = 132, rate: float = 0.1):
        super().__init__()
        self.rate = rate
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x):
        return self.down(F.dropout(F.gelu(self.up(x)), self.rate))


study = make_study(BASELINE.replace("*.mlp", pb.spec(DroppingMLP, rate=0.1)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
