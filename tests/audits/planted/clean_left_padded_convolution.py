"""A depthwise convolution over time, padded on the left by one less than its width."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class ShortConvolution(nn.Module):
    def __init__(self, d_model: int, width: int = 4):
        super().__init__()
        self.width = width
        self.mix = nn.Conv1d(d_model, d_model, width, groups=d_model)
        self.gate = nn.Linear(d_model, 2 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        gate, value = self.gate(x).chunk(2, dim=-1)
        mixed = self.mix(F.pad(value.mT, (self.width - 1, 0))).mT
        return self.out(gate.sigmoid() * mixed)


own = BASELINE.replace("*.mixer", pb.spec(ShortConvolution))
study = make_study(pb.Arm(own, match="parameters", width="*.mlp.d_ff"))
