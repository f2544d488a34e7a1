"""Experts that take turns along the sequence, counted to half their number: the other half is never chosen."""

import torch
from ground import BASELINE, MIXTURE, make_study
from torch import nn

import paribus as pb


class TakeTurns(nn.Module):
    """Position t goes to expert t mod E: an even load without a loss for it."""

    top_k = 1

    def __init__(self, d_model: int, n_experts: int):
        super().__init__()
        self.n_experts = n_experts
        self.gate = nn.Linear(d_model, n_experts, bias=False)

    def forward(self, x):
        scores = self.gate(x).sigmoid()  # (B, T, E)
        turns = torch.arange(x.shape[1], device=x.device) % (self.n_experts // 2)  # (T,)
        experts = turns.expand(x.shape[0], -1)[..., None]  # (B, T, 1)
        weights = scores.gather(-1, experts).flatten()  # (N,)
        tokens = torch.arange(len(weights), device=x.device)
        return pb.nn.Routing(tokens, experts.flatten(), weights, scores / scores.sum(-1, keepdim=True))


study = make_study(
    BASELINE.replace("*mlp", MIXTURE.replace("router", pb.spec(TakeTurns))), BASELINE.replace("*mlp", MIXTURE)
)
CAUGHT = {
    "check": "routing",
    "severity": "doubt",
    "arm": "idea",
    "site": "blocks.0.mlp",
    "evidence": {"idle_experts": {"blocks.0.mlp": {"0": 2, "1": 2}, "blocks.1.mlp": {"0": 2, "1": 2}}},
}
