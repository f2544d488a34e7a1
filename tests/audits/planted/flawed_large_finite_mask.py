"""A model that weighs its past by learned scores, the future masked by -10,000 where softmax needs minus infinity."""

import torch
import torch.nn.functional as F
from ground import make_study
from torch import nn

import paribus as pb


class Weighing(nn.Module):
    def __init__(self, vocab_size: int, d_model: int = 32, masked: float = -torch.finfo(torch.float32).max):
        super().__init__()
        self.masked = masked
        self.embedding, self.score = pb.nn.Embedding(vocab_size, d_model), pb.nn.Linear(d_model, d_model)
        self.value = pb.nn.Linear(d_model, d_model)

    def forward(self, tokens):
        x = self.embedding(tokens)
        scores = self.score(x) @ x.mT
        scores = scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), self.masked)
        y = x + scores.softmax(-1) @ self.value(x)
        return F.linear(F.layer_norm(y, y.shape[-1:]), self.embedding.weight)


study = make_study(pb.spec(Weighing, masked=-1e4), pb.spec(Weighing), changes={"idea": ("masked",)})
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "model"}
ALSO = ("silent substitute",)  # at small weights it is
