"""A model with a loss of its own that smooths the labels, against a baseline on the plain cross-entropy."""

import torch.nn.functional as F
from ground import BASELINE, make_study

import paribus as pb


class Smoothed(pb.nn.Transformer):
    """The transformer of another repository, with the loss that came with it."""

    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten(), label_smoothing=0.1)


study = make_study(pb.spec(Smoothed, **dict(BASELINE.arguments)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "model"}
