"""An attention of the user's own that drops out, where the baseline does not: regularisation rides along."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class GatedAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        q, k, v = (z.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.drop(self.gate(x).sigmoid() * y.transpose(1, 2).flatten(2))


study = make_study(BASELINE.replace("*.mixer", pb.spec(GatedAttention)), changes={"idea": ("*.mixer",)})
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer"}
