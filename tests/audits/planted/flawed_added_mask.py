"""A boolean mask that is added to the scores where it should rule them out: nothing is masked. (Origin 3.)"""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class CausalAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mask = torch.ones(t, t, dtype=torch.bool, device=x.device)  # may attend
        scores = q @ k.mT / q.shape[-1] ** 0.5 + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))


study = make_study(BASELINE.replace("blocks.1.mixer", pb.spec(CausalAttention)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.1.mixer"}
