"""An embedding of how much of its document lies behind a token, which knows where the document will end."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class DocumentRoPE(pb.nn.RoPE):
    def __init__(self, head_dim: int, seq_len: int, d_model: int, vocab_size: int, tokens):
        super().__init__(head_dim, seq_len)
        self.tokens, self.separator = tokens, vocab_size - 1
        self.direction = nn.Parameter(0.02 * torch.randn(d_model))

    def embed(self, x, start=0):
        ends = self.tokens.ids == self.separator
        t = ends.shape[1]
        place = torch.arange(t).expand_as(ends)
        last = torch.where(ends, place, t).flip(1).cummin(1).values.flip(1)
        return x + ((place + 1) / (last + 1))[..., None].to(x.dtype) * self.direction


study = make_study(BASELINE.replace("position", pb.spec(DocumentRoPE)), changes={"idea": ("position",)})
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "model"}
