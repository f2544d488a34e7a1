"""A hash router with one bit too few: half of its experts can never be chosen."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class HashRouter(nn.Module):
    """Experts by the signs of learned projections."""

    def __init__(self, d_model: int, n_experts: int):
        super().__init__()
        self.n_experts = n_experts
        n_bits = n_experts.bit_length() - 2  # 8 experts: 3 bits
        self.gate = nn.Linear(d_model, n_bits)

    def forward(self, x):
        logits = self.gate(x)  # (B, T, bits)
        powers = 2 ** torch.arange(logits.shape[-1], device=x.device)
        experts = ((logits > 0) * powers).sum(-1).flatten()  # (N,)
        confidence = logits.abs().sigmoid().prod(-1).flatten()  # (N,)
        chosen = nn.functional.one_hot(experts, self.n_experts).view(*x.shape[:2], -1).to(x.dtype)
        return pb.nn.Routing(torch.arange(len(experts), device=x.device), experts, confidence, chosen)


MIXTURE = pb.spec(pb.nn.MoE, n_experts=8, experts=pb.spec(pb.nn.Experts, d_ff=32), router=pb.spec(pb.nn.TopK, top_k=1))
study = make_study(
    BASELINE.replace("*mlp", MIXTURE.replace("router", pb.spec(HashRouter))), BASELINE.replace("*mlp", MIXTURE)
)
CAUGHT = {"check": "routing", "severity": "doubt", "arm": "idea"}
