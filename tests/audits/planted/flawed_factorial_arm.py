"""A factorial study of which one factor sees the future: no contrast of its arms may have a verdict."""

from ground import BASELINE, CORPUS, TRAINING
from torch import nn

import paribus as pb


class SequenceNorm(nn.Module):
    """Root mean square over time and features."""

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x / (x.square().mean((-2, -1), keepdim=True) + 1e-5).sqrt()


study = pb.factorial(
    question="Do a norm over the sequence and a higher learning rate add up?",
    baseline=BASELINE,
    factors={
        "sequence norm": {"*norm": pb.spec(SequenceNorm)},
        "fast": {"training.learning_rate": 1.5},
    },
    data=CORPUS,
    training=TRAINING,
    margin=0.03,
    min_seeds=2,
    max_seeds=2,
)

CAUGHT = (
    {"check": "causality", "severity": "invalid", "arm": "sequence norm"},
    {"check": "causality", "severity": "invalid", "arm": "sequence norm + fast"},
)
