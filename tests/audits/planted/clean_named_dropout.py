"""Dropout, stochastic depth and noise whose rates the spec spells out: they are the question."""

import torch
from ground import BASELINE, make_study

import paribus as pb


class DroppedBlock(pb.nn.PreNorm):
    """Skips what a block adds, for a share of the sequences."""

    def __init__(self, d_model: int, mixer_norm: pb.Spec, mixer: pb.Spec, mlp_norm: pb.Spec, mlp: pb.Spec, skip: float):
        super().__init__(d_model, mixer=mixer, mlp=mlp, mixer_norm=mixer_norm, mlp_norm=mlp_norm)
        self.skip = skip

    def forward(self, x):
        y = super().forward(x)
        if not self.training or self.skip == 0:
            return y
        kept = (torch.rand(len(x), 1, 1, device=x.device) >= self.skip).to(x.dtype)
        return x + kept * (y - x) / (1 - self.skip)


dropped = pb.spec(DroppedBlock, skip=0.1, **dict(BASELINE["blocks.0"].arguments))
study = make_study(
    treatments={
        "dropout": BASELINE.replace("dropout", 0.1),
        "depth": BASELINE.replace("blocks.0", dropped).replace("blocks.1", dropped),
    }
)
