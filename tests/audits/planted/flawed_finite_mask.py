"""Attention that masks the future by -30: out of reach of initial weights, within reach of trained ones."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SoftMask(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.o = pb.nn.Linear(d_model, 3 * d_model), pb.nn.Linear(d_model, d_model)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores + torch.full_like(scores[0, 0], -30.0).triu(1)
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


study = make_study(BASELINE.replace("*.mixer", pb.spec(SoftMask)), changes={"idea": ("*.mixer",)})
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
