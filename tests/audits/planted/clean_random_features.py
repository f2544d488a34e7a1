"""An MLP whose first layer stays random on purpose, and says so with requires_grad; wider for equal FLOPs."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class RandomFeatures(nn.Module):
    def __init__(self, d_model: int, width: int = 85):
        super().__init__()
        self.features = nn.Linear(d_model, width, bias=False).requires_grad_(False)
        self.gate = nn.Linear(d_model, width, bias=False)
        self.down = nn.Linear(width, d_model, bias=False)

    def forward(self, x):
        return self.down(torch.tanh(self.features(x)) * self.gate(x))


idea = BASELINE.replace("*mlp", pb.spec(RandomFeatures))
study = make_study(pb.Arm(idea, match="flops", width="*mlp.width"))
