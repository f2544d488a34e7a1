"""The baseline's attention, typed anew: nn.Linear draws its weights three times as wide as the model's parts."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


def rotate(x):
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[-2]).float(), 10000.0 ** (-torch.arange(half) / half))
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Retyped(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))

    def forward(self, x):
        q, k, v = (w(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return self.wo(y.transpose(1, 2).flatten(2))


study = make_study(BASELINE.replace("*.mixer", pb.spec(Retyped)), changes={"idea": ("*.mixer",)})
CAUGHT = {"check": "same function", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer.wq"}
