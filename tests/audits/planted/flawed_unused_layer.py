"""A latent attention with projections that its forward pass never calls, counted as parameters. (Origin 15.)"""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class CompressedAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.compress = nn.Linear(d_model, d_model // 2, bias=False)
        self.expand = nn.Linear(d_model // 2, d_model, bias=False)

    def forward(self, x):
        q, k, v = (z.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, dim=-1))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


study = make_study(BASELINE.replace("*.mixer", pb.spec(CompressedAttention)))
ALSO = ("parameters and FLOPs",)  # they are counted
CAUGHT = {
    "check": "dead parameters",
    "severity": "doubt",
    "arm": "idea",
    "site": "blocks.0.mixer",
    "evidence": {"parameters": 2048},
}
