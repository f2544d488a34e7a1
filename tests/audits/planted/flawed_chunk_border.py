"""Chunked linear attention with an index off by one: the last token of a chunk already reads the next chunk."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class ChunkedAttention(nn.Module):
    """Attention inside a chunk, and the running sum of what earlier chunks wrote."""

    def __init__(self, d_model: int, chunk: int = 8):
        super().__init__()
        self.chunk = chunk
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        t = x.shape[1]
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        place = torch.arange(t, device=x.device)
        mine = place // self.chunk
        ends = (place + 1) % self.chunk == 0
        upto = torch.where(ends, mine + 1, mine - 1)  # the last chunk whose sums a token reads; an end reads on
        inside = (mine[:, None] == mine) & (place[:, None] >= place)
        reads = inside | (mine <= upto[:, None])
        return self.out((q @ k.mT * reads / t) @ v)


study = make_study(BASELINE.replace("*.mixer", pb.spec(ChunkedAttention)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
