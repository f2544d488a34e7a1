"""An argument that nothing reads: two arms with two windows of attention train the same bits."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class LocalAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int, window: int = 64):
        super().__init__()
        self.n_heads, self.window = n_heads, window
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        q, k, v = (z.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, dim=-1))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


local = BASELINE.replace("*.mixer", pb.spec(LocalAttention))
study = make_study(local.replace("*.mixer.window", 4), local)
CAUGHT = {"check": "silent substitute", "severity": "invalid", "arm": "idea"}
