"""A gain of 30 makes every gradient of one arm hit the clip that the other never touches."""

import torch
from ground import BASELINE, TRAINING, make_study
from torch import nn

import paribus as pb


class LoudNorm(nn.Module):
    """RMSNorm with a temperature for the logits behind it."""

    def __init__(self, dim: int, temperature: float = 30.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((dim,), temperature))

    def forward(self, x):
        return self.gain * nn.functional.rms_norm(x, x.shape[-1:])


baseline = BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm))
study = make_study(
    baseline.replace("final_norm", pb.spec(LoudNorm)),
    baseline,
    training=TRAINING.replace(clip=5.0),
    changes={"idea": ("final_norm",)},
)
CAUGHT = {
    "check": "clipping",
    "severity": "note",
    "arm": "idea",
    "evidence": {"clipping_frequency": {"baseline": (0, 0.1), "idea": (0.9, 1)}, "clip": 5.0},
}
