"""Norms whose gain is kept as (1, 1, D), so that the weight decay of matrices pulls it; the baseline's is spared."""

import torch
from ground import BASELINE, TRAINING, make_study
from torch import nn

import paribus as pb


class Gained(nn.Module):
    """A block whose two norms are written in it, with gains that are ready to broadcast."""

    def __init__(self, d_model: int, mixer, mlp):
        super().__init__()
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(1, 1, d_model)) for _ in range(2))
        self.mixer = pb.nn.build(mixer, "mixer", d_model, slot="mixer")
        self.mlp = pb.nn.build(mlp, "mlp", d_model, slot="mlp")

    def forward(self, x):
        for gain, part in zip(self.gains, (self.mixer, self.mlp), strict=True):
            x = x + part(gain * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())
        return x


first = BASELINE["blocks.0"]
study = make_study(
    BASELINE.replace("blocks.*", pb.spec(Gained, mixer=first["mixer"], mlp=first["mlp"])),
    training=TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.01, weight_decay=0.1)),
    changes={"idea": ("blocks.*",)},
)
CAUGHT = {"check": "optimizer groups", "severity": "doubt", "arm": "idea", "site": "blocks.0"}
