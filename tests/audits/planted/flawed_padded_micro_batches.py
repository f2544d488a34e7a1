"""A loss that leaves padding out, taken in micro-batches by one arm: the mean of their means is not the mean."""

import numpy as np
import torch.nn.functional as F
from ground import TRAINING, make_study
from torch import nn

import paribus as pb


class Padded:
    """Documents of random lengths that end in padding; every third is nearly all padding."""

    vocab_size = 32

    def documents(self, side):
        rng = np.random.default_rng(0 if side == "train" else 1)
        for i in range(900 if side == "train" else 60):
            n = int(rng.integers(2, 5)) if i % 3 == 0 else 24
            yield np.concatenate([rng.integers(1, 32, size=n), np.zeros(24 - n, dtype=int)])


class Masked(nn.Module):
    def __init__(self, vocab_size: int, d_model: int = 24):
        super().__init__()
        self.embedding, self.head = pb.nn.Embedding(vocab_size, d_model), pb.nn.Linear(d_model, vocab_size)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))

    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).transpose(1, 2), targets, ignore_index=0)


study = make_study(
    pb.Arm(pb.spec(Masked), TRAINING.replace(micro_batch_tokens=24)),
    pb.spec(Masked),
    data=pb.spec(Padded),
    changes={"idea": ("training.micro_batch_tokens",)},
)
CAUGHT = {"check": "micro-batches", "severity": "doubt", "arm": "idea", "site": "model"}
ALSO = ("train/validation overlap", "vocabulary", "padding")
