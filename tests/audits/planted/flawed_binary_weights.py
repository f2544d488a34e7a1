"""Weights are made binary after every step, and no step is large enough to flip a sign: nothing is learned."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class BinaryMLP(nn.Module):
    """A GELU MLP whose weights are +-1/sqrt(fan in), as the hardware wants them."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up = nn.Linear(d_model, 4 * d_model, bias=False)
        self.down = nn.Linear(4 * d_model, d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self):
        self.up.reset_parameters()
        self.down.reset_parameters()
        self.after_step()

    @torch.no_grad()
    def after_step(self):
        for layer in (self.up, self.down):
            layer.weight.copy_(layer.weight.sign() / layer.in_features**0.5)

    def forward(self, x):
        return self.down(nn.functional.gelu(self.up(x)))


study = make_study(BASELINE.replace("*mlp", pb.spec(BinaryMLP)))
CAUGHT = {"check": "unmoved parameters", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
