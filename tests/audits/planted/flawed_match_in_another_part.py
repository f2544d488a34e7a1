"""Half an attention is matched in parameters by wider MLPs: what is compared is where parameters go, not mixers."""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Shift(nn.Module):
    """Adds the token before, through one matrix."""

    def __init__(self, d_model: int):
        super().__init__()
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        return self.out(x + nn.functional.pad(x, (0, 0, 1, -1)))


shifted = BASELINE.replace("*.mixer", pb.spec(Shift))
study = make_study(pb.Arm(shifted, match="parameters", width="*.mlp.d_ff"), changes={"idea": ("*.mixer", "*.mlp.d_ff")})
CAUGHT = {
    "check": "matching",
    "severity": "note",
    "arm": "idea",
    # three matrices of 32 x 32 less are 32 more hidden units of the MLP's three of 32 x d_ff, beside 88
    "evidence": {"match": "parameters", "solved": [120]},
}
