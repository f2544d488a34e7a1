"""A study of routing whose new arm also loses the balancing loss and gets other norms with another eps. (Origin 10.)"""

from ground import BASELINE, make_study

import paribus as pb

baseline = BASELINE.replace(
    "*.mlp",
    pb.spec(
        pb.nn.MoE,
        n_experts=4,
        router=pb.spec(pb.nn.TopK, top_k=2),
        experts=pb.spec(pb.nn.Experts, d_ff=32),
        losses=(pb.spec(pb.nn.LoadBalance, weight=0.01),),
    ),
)
idea = (
    baseline.replace("*.router.score", pb.nn.sigmoid)
    .replace("*.mlp.losses", ())
    .replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-6))
)
study = make_study(idea, baseline, changes={"idea": ("*.router",)})
CAUGHT = (
    {"check": "undeclared difference", "severity": "doubt", "arm": "idea", "evidence": {"declared": ["*.router"]}},
    {"check": "several differences", "severity": "note", "arm": "idea", "evidence": {"n_kinds": 3}},
)
