"""Pooling in blocks of five, in which the rest of the window is one block that every token of it sees."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class BlockPooling(nn.Module):
    """The running mean inside each block of five tokens; the tail is too short to matter."""

    def __init__(self, d_model: int, block: int = 5):
        super().__init__()
        self.block = block
        self.value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.out = nn.Linear(2 * d_model, d_model, bias=False)

    def forward(self, x):
        v = self.value(x)
        whole = x.shape[1] // self.block * self.block
        blocks = v[:, :whole].unflatten(1, (-1, self.block))
        means = blocks.cumsum(2) / torch.arange(1, self.block + 1, device=x.device)[:, None]
        tail = v[:, whole:]
        return self.out(torch.cat((means.flatten(1, 2), tail.mean(1, keepdim=True).expand_as(tail)), 1))


study = make_study(BASELINE.replace("blocks.0.mixer", pb.spec(BlockPooling)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
