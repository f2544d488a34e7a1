"""Batch norm over features: a sequence is scored by the company it keeps in training."""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class BatchNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x):
        return self.norm(x.mT).mT


study = make_study(BASELINE.replace("*.mlp_norm", pb.spec(BatchNorm)))
ALSO = ("causality",)  # its statistics are over positions too
CAUGHT = {"check": "row leakage", "severity": "invalid", "arm": "idea", "site": "blocks.0.mlp_norm"}
