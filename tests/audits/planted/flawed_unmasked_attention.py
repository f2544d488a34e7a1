"""torch's attention without a mask: every position sees the whole window. (Origin 2.)"""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SelfAttention(nn.Module):
    """Multi-head self-attention from torch, which has had years of tuning."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, n_heads, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


study = make_study(BASELINE.replace("*.mixer", pb.spec(SelfAttention)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
