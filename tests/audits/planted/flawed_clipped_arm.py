"""A gain of 60 makes every gradient of one arm hit the clip that the other never touches."""

import torch
from ground import BASELINE, TRAINING, make_study
from torch import nn

import paribus as pb


class LoudNorm(nn.Module):
    """RMSNorm with a temperature for the logits behind it."""

    def __init__(self, dim: int, temperature: float = 60.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((dim,), temperature))

    def forward(self, x):
        return self.gain * nn.functional.rms_norm(x, x.shape[-1:])


study = make_study(
    BASELINE.replace("final_norm", pb.spec(LoudNorm)),
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)),
    training=TRAINING.replace(clip=5.0),
    changes={"idea": ("final_norm",)},
)
CAUGHT = {"check": "clipping", "severity": "note", "arm": "idea"}
