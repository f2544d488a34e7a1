"""Experts that drop out what they are handed, sorted by expert: which noise a token gets depends on later tokens."""

import torch
import torch.nn.functional as F
from ground import make_study
from torch import nn

import paribus as pb


class SortedExperts(nn.Module):
    """Top-1 experts, one after the other, each with dropout on its rows."""

    def __init__(self, d_model: int, dropout: float, n_experts: int = 3, d_ff: int = 32):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.up = nn.ModuleList(nn.Linear(d_model, d_ff, bias=False) for _ in range(n_experts))
        self.down = nn.ModuleList(nn.Linear(d_ff, d_model, bias=False) for _ in range(n_experts))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        y = torch.zeros_like(x)
        for expert, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            rows = chosen == expert
            y[rows] = down(self.dropout(F.gelu(up(x[rows])))) * weight[rows].unsqueeze(-1)
        return y

    def idle_parameters(self):
        return sum(p.numel() for p in (*self.up.parameters(), *self.down.parameters())) * 2 // 3


experts = pb.spec(pb.nn.Experts, d_ff=32, activation=pb.nn.gelu)
mixture = pb.spec(pb.nn.MoE, n_experts=3, router=pb.spec(pb.nn.TopK, top_k=1, normalize=False), experts=experts)
mixture = mixture.replace("losses", (pb.spec(pb.nn.LoadBalance, weight=0.1),))
baseline = pb.nn.llama(32, 2, 2, mlp=mixture, dropout=0.1)
study = make_study(baseline.replace("*.mlp", pb.spec(SortedExperts)), baseline)
