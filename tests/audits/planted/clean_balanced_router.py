"""Two mixtures of experts: one is kept even by a loss, the other by a bias on its router."""

from ground import BASELINE, make_study

import paribus as pb

MIXTURE = pb.spec(
    pb.nn.MoE,
    n_experts=4,
    experts=pb.spec(pb.nn.Experts, d_ff=32),
    router=pb.spec(pb.nn.TopK, top_k=2),
    losses=(pb.spec(pb.nn.LoadBalance, weight=0.01),),
)
BIASED = MIXTURE.replace("losses", ()).replace("router.bias_rate", 0.05)
study = make_study(BASELINE.replace("*mlp", BIASED), BASELINE.replace("*mlp", MIXTURE))
