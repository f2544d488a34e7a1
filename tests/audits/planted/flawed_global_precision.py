"""A constructor that lowers the precision of every matrix product in the process, the baseline's included."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb

WIDTH = 132


class FastMLP(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        torch.set_float32_matmul_precision("medium")  # tensor cores
        self.up, self.down = nn.Linear(d_model, WIDTH, bias=False), nn.Linear(WIDTH, d_model, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


study = make_study(BASELINE.replace("*.mlp", pb.spec(FastMLP)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": None}
