"""A final norm whose gain starts at the square of the width: everything before it gets gradients 100 times larger."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SharpNorm(nn.Module):
    """x / |x|, with a learned gain that starts at the square of the width, for sharp predictions."""

    def __init__(self, dim: int):
        super().__init__()
        self.gain = nn.Parameter(torch.full((dim,), float(dim**2)))

    def forward(self, x):
        return self.gain * x / (x.norm(dim=-1, keepdim=True) + 1e-6)


study = make_study(BASELINE.replace("final_norm", pb.spec(SharpNorm)), changes={"idea": ("final_norm",)})
CAUGHT = (
    {"check": "site norms", "severity": "doubt", "arm": "idea", "site": "model", "evidence": {"pairs": 2}},
    {"check": "starting scale", "severity": "doubt", "arm": "idea", "site": "final_norm"},
)
