"""torch's own GRU as a mixer."""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class GRU(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.cell = nn.GRU(d_model, d_model, batch_first=True, bias=False)

    def forward(self, x):
        return self.cell(x)[0]


study = make_study(pb.Arm(BASELINE.replace("*.mixer", pb.spec(GRU)), match="parameters", width="*.mlp.d_ff"))
