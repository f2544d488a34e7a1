"""A metric that counts the tokens a model is sure of: each arm is averaged over the tokens it chose itself."""

import torch
import torch.nn.functional as F
from ground import BASELINE, make_study

import paribus as pb


def sure_loss(logits, targets):
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")
    return torch.where(logits.softmax(-1).amax(-1) > 0.02, losses, torch.nan)


study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    metric=pb.Metric("sure_loss", "nats/token", measure=sure_loss),
)
CAUGHT = {"check": "counted tokens", "severity": "doubt", "arm": None}
