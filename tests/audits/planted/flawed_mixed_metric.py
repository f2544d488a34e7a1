"""The study is judged on the training loss, and the idea's is that of the easy half of a window."""

import torch.nn.functional as F
from ground import BASELINE, make_study

import paribus as pb


class LateLoss(pb.nn.Transformer):
    """Only the second half of a window is trained on: there the context is long enough."""

    def loss(self, tokens, targets):
        half = tokens.shape[1] // 2
        return F.cross_entropy(self(tokens)[:, half:].flatten(0, 1), targets[:, half:].flatten())


study = make_study(
    pb.spec(LateLoss, **dict(BASELINE.arguments)),
    metric=pb.Metric("train_loss", "nats/token"),
)
ALSO = ("hidden difference",)  # a loss of its own is one, whatever the study is judged on
CAUGHT = {"check": "metric", "severity": "doubt", "arm": "idea"}
