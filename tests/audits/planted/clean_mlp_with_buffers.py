"""An MLP that keeps running statistics in training, as batch norm does, and reads them in evaluation alone."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class WatchedMLP(nn.Module):
    """Counts how often each hidden unit fires; a table of scales that never changes."""

    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_ff, d_model, bias=False)
        self.register_buffer("fired", torch.zeros(d_ff))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, d_ff), persistent=False)

    def forward(self, x):
        hidden = F.relu(self.up(x)) * self.scale
        if self.training:
            self.fired.lerp_((hidden > 0).to(self.fired.dtype).mean((0, 1)).detach(), 0.1)
        return self.down(hidden)


study = make_study(BASELINE.replace("*.mlp", pb.spec(WatchedMLP)))
