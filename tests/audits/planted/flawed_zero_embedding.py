"""A model of the user's own whose embedding starts at zero, against the same model with N(0, 0.02)."""

import torch.nn.functional as F
from ground import make_study
from torch import nn

import paribus as pb


class Recurrent(nn.Module):
    def __init__(self, vocab_size: int, d_model: int = 32, embedding_std: float = 0.02):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.gru = nn.GRU(d_model, d_model, batch_first=True)
        nn.init.normal_(self.wte.weight, std=embedding_std)

    def forward(self, tokens):
        y, _ = self.gru(self.wte(tokens))
        return F.linear(F.layer_norm(y, y.shape[-1:]), self.wte.weight)


study = make_study(pb.spec(Recurrent, embedding_std=0.0), pb.spec(Recurrent), changes={"idea": ("embedding_std",)})
CAUGHT = {"check": "same function", "severity": "doubt", "arm": "idea", "site": "wte"}
