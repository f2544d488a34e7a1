"""A mixture whose last expert can never be chosen, as the router's best is taken among the others."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Mixture(nn.Module):
    def __init__(self, d_model: int, n_experts: int = 4, d_ff: int = 32):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts - 1, bias=False)
        self.up = nn.Parameter(torch.randn(n_experts, d_model, d_ff) * 0.02)
        self.down = nn.Parameter(torch.randn(n_experts, d_ff, d_model) * 0.02)

    def forward(self, x):
        weight, expert = self.gate(x).softmax(-1).max(-1)
        kept = F.one_hot(expert, len(self.up)) * weight.unsqueeze(-1)
        y = F.relu(torch.einsum("btd,edf->btef", x, self.up))
        return torch.einsum("btef,efd,bte->btd", y, self.down, kept)


study = make_study(BASELINE.replace("*.mlp", pb.spec(Mixture)))
CAUGHT = {"check": "dead parameters", "severity": "note", "arm": "idea", "site": "blocks.0.mlp"}
