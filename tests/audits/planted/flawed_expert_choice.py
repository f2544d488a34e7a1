"""Experts that pick the tokens they like best of the whole window: a token's fate depends on later ones."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class ExpertsChoose(nn.Module):
    def __init__(self, d_model: int, n_experts: int = 4, d_ff: int = 32):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.up = nn.Parameter(torch.randn(n_experts, d_model, d_ff) * 0.02)
        self.down = nn.Parameter(torch.randn(n_experts, d_ff, d_model) * 0.02)

    def forward(self, x):
        scores = self.gate(x).softmax(-1).mT  # (B, E, T)
        kept = scores.topk(max(1, x.shape[1] // 2), dim=-1)
        weights = torch.zeros_like(scores).scatter(-1, kept.indices, kept.values)
        y = F.relu(torch.einsum("btd,edf->betf", x, self.up))
        return torch.einsum("betf,efd,bet->btd", y, self.down, weights)


study = make_study(BASELINE.replace("*.mlp", pb.spec(ExpertsChoose)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mlp"}
