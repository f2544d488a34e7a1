"""Two mixtures of experts: top-2 with a balance loss against one expert per token with a bias and noise."""

from ground import make_study

import paribus as pb

baseline = pb.nn.mixtral(32, 2, 2, n_experts=4, top_k=2, d_ff=32)
biased = pb.spec(pb.nn.TopK, top_k=2, score=pb.nn.sigmoid, bias_rate=0.01, noise_std=0.1)
study = make_study(
    baseline.replace("*.router", biased).replace("*.losses", ()),
    baseline,
    changes={"idea": ("*.router", "*.losses")},
)
