"""A router with a prior that grows along the experts: eight are paid for, the first takes every token."""

from ground import BASELINE, make_study

import paribus as pb


class PriorRouter(pb.nn.TopK):
    """Top-1 with a prior that keeps the choice from flickering."""

    def __init__(self, d_model: int, n_experts: int, strength: float = 10.0):
        super().__init__(d_model, n_experts, top_k=1, normalize=False)
        self.strength = strength

    def _choose(self, scores):
        prior = scores.new_ones(self.n_experts).cumsum(0)
        return scores - self.strength * prior


MIXTURE = pb.spec(pb.nn.MoE, n_experts=8, experts=pb.spec(pb.nn.Experts, d_ff=32), router=pb.spec(pb.nn.TopK, top_k=1))
study = make_study(
    BASELINE.replace("*mlp", MIXTURE.replace("router", pb.spec(PriorRouter))), BASELINE.replace("*mlp", MIXTURE)
)
CAUGHT = {"check": "routing", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
