"""An MLP and a norm whose last weights start at zero, so that every block starts as the identity."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class ZeroStartMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_ff, d_model, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class ZeroGain(nn.Module):
    """x / rms(x) (1 + g), g = 0 at the start."""

    def __init__(self, dim: int):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.gain)


study = make_study(
    treatments={
        "mlp": BASELINE.replace("*.mlp", pb.spec(ZeroStartMLP)),
        "norm": BASELINE.replace("*norm", pb.spec(ZeroGain)),
    }
)
