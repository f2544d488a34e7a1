"""A mixture of one expert: its load is all on one, and there is no other to fire."""

from ground import BASELINE, make_study

import paribus as pb

# A sigmoid: the softmax of one score is the constant 1, and would leave the router without a gradient.
ROUTER = pb.spec(pb.nn.TopK, top_k=1, normalize=False, score=pb.nn.sigmoid)
ONE = pb.spec(pb.nn.MoE, n_experts=1, experts=pb.spec(pb.nn.GatedExperts), router=ROUTER)
study = make_study(BASELINE.replace("*mlp", ONE), changes={"idea": ("*mlp",)})
