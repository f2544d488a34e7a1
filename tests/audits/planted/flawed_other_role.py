"""An MLP that calls its matrices vectors: they are spared the weight decay that the baseline's get."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb


class LightMLP(pb.nn.GatedMLP):
    def roles(self):
        return {name: "vector" for name, _ in self.named_parameters()}

    def forward(self, x):
        return 0.9 * super().forward(x)


decayed = TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.01, weight_decay=0.1))
study = make_study(
    BASELINE.replace("*.mlp", pb.spec(LightMLP, **dict(BASELINE["blocks.0.mlp"].arguments))), training=decayed
)
CAUGHT = {
    "check": "optimizer groups",
    "severity": "doubt",
    "arm": "idea",
    "site": "blocks.0.mlp",
    "evidence": {"tensors": {"blocks.0.mlp.up.weight": ["weight_decay 0.1 -> 0.0"]}},
}
