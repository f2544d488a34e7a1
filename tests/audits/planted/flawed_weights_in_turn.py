"""Weights drawn one after the other from one generator: what follows a changed part starts differently. (Origin 5.)"""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class GPT(pb.nn.Transformer):
    """All matrices from one normal distribution, as in nanoGPT."""

    def reset_parameters(self):
        super().reset_parameters()
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)


baseline = pb.spec(GPT, **dict(BASELINE.arguments))
idea = baseline.replace("*.mlp", pb.spec(pb.nn.MLP, d_ff=130))
study = make_study(idea, baseline, changes={"idea": ("*.mlp",)})
CAUGHT = {"check": "initial weights", "severity": "doubt", "arm": "idea"}
