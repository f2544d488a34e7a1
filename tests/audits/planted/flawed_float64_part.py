"""An MLP that computes in float64, where everything else is float32: exactness rides along."""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class StableMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int = 132):
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x):
        hidden = self.up(x).double()
        return self.down((hidden.exp() / (1 + hidden.exp())).to(x.dtype))


study = make_study(BASELINE.replace("*.mlp", pb.spec(StableMLP)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
