"""The baseline's gated MLP, whose class draws its own weights on purpose, half as wide: the same function."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Narrow(nn.Module):
    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        self.w1, self.w3 = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_model, d_ff, bias=False)
        self.w2 = nn.Linear(d_ff, d_model, bias=False)
        for layer in (self.w1, self.w3, self.w2):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


study = make_study(
    BASELINE.replace("*.mlp", pb.spec(Narrow, d_ff=BASELINE["blocks.0.mlp.d_ff"] or pb.nn.gated_width(48))),
    changes={"idea": ("*.mlp",)},
)
CAUGHT = {"check": "same function", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp.w1"}
