"""Experts with a capacity that the whole batch shares, first come first served: earlier rows push later ones out."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class CapacityMoE(nn.Module):
    """Top-1 experts as in Switch; what comes after the capacity is filled is dropped."""

    def __init__(self, d_model: int, n_experts: int = 4, d_ff: int = 32, factor: float = 1.0):
        super().__init__()
        self.n_experts, self.factor = n_experts, factor
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.up = nn.Parameter(torch.randn(n_experts, d_model, d_ff) * 0.02)
        self.down = nn.Parameter(torch.randn(n_experts, d_ff, d_model) * 0.02)

    def forward(self, x):
        flat = x.flatten(0, 1)
        weight, expert = self.gate(flat).softmax(-1).max(-1)
        chosen = F.one_hot(expert, self.n_experts)
        room = int(self.factor * len(flat) / self.n_experts)
        kept = chosen * (chosen.cumsum(0) <= room)
        y = F.relu(torch.einsum("nd,edf->nef", flat, self.up))
        return torch.einsum("nef,efd,ne->nd", y, self.down, kept * weight[:, None]).view_as(x)


study = make_study(BASELINE.replace("*.mlp", pb.spec(CapacityMoE)))
ALSO = ("conformance",)  # a capacity that rows share is one that positions share
CAUGHT = {"check": "row leakage", "severity": "invalid", "arm": "idea", "site": "blocks.0.mlp"}
