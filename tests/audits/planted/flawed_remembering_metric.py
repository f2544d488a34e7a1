"""A metric that adds what the arm's last forward pass left in a global: another number after every batch."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study

import paribus as pb

LAST = {"size": torch.zeros(())}


class Noting(pb.nn.GatedMLP):
    def forward(self, x):
        y = super().forward(x)
        LAST["size"] = y.square().mean()
        return y


def penalized(logits, targets):
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")
    return losses + LAST["size"]


study = make_study(
    BASELINE.replace("*.mlp", pb.spec(Noting)),
    metric=pb.Metric("penalized", "nats/token", measure=penalized),
    changes={"idea": ("*.mlp",)},
)
CAUGHT = {"check": "metric", "severity": "doubt", "arm": "idea"}
ALSO = ("silent substitute",)
