"""The second layer of the MLP stands in a plain list, so that no optimizer ever sees its weights."""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Deep(nn.Module):
    """y = W_3 relu(W_2 relu(W_1 x))"""

    def __init__(self, dim, hidden=64):
        super().__init__()
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.between = [nn.Linear(hidden, hidden)]

    def forward(self, x):
        hidden = self.up(x).relu()
        for layer in self.between:
            hidden = layer.to(x.dtype)(hidden).relu()
        return self.down(hidden)


study = make_study(BASELINE.replace("*.mlp", pb.spec(Deep)), changes={"idea": ("*.mlp",)})

CAUGHT = {"check": "conformance", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
ALSO = ("parameters and FLOPs",)  # the weights that nobody counts
