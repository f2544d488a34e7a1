"""A router with a prior that grows along the experts: four are paid for, the first takes every token."""

import torch
from ground import BASELINE, MIXTURE, make_study
from torch import nn

import paribus as pb


class PriorRouter(nn.Module):
    """One expert per token, by its score less a prior that keeps the choice from flickering."""

    top_k = 1

    def __init__(self, d_model: int, n_experts: int, strength: float = 10.0):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.register_buffer("prior", strength * torch.arange(n_experts), persistent=False)

    def forward(self, x):
        scores = self.gate(x).sigmoid()  # (B, T, E)
        chosen = (scores - self.prior).argmax(-1, keepdim=True)  # (B, T, 1)
        weights = scores.gather(-1, chosen).flatten()  # (N,)
        tokens = torch.arange(len(weights), device=x.device)
        return pb.nn.Routing(tokens, chosen.flatten(), weights, scores / scores.sum(-1, keepdim=True))


study = make_study(
    BASELINE.replace("*mlp", MIXTURE.replace("router", pb.spec(PriorRouter))), BASELINE.replace("*mlp", MIXTURE)
)
CAUGHT = {
    "check": "routing",
    "severity": "doubt",
    "arm": "idea",
    "site": "blocks.0.mlp",
    "evidence": {"largest_share": {"0": 1.0, "1": 1.0}, "effective_experts": {"0": 1.0, "1": 1.0}},
}
