"""Attention that puts 0 in place of scores that are not finite: in this arm a run that breaks goes on."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Guarded(nn.Module):
    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.o = pb.nn.Linear(d_model, 3 * d_model), pb.nn.Linear(d_model, d_model)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = torch.nan_to_num(q @ k.mT / q.shape[-1] ** 0.5)
        future = torch.ones_like(scores[0, 0]).triu(1).bool()
        return self.o((scores.masked_fill(future, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2))


study = make_study(BASELINE.replace("*.mixer", pb.spec(Guarded)), changes={"idea": ("*.mixer",)})
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer"}
