"""Judged on a metric of the user's own: how many of the upper-case letters are the likeliest token."""

import torch
from ground import BASELINE, make_study

import paribus as pb


def capitals_right(logits, targets):
    is_capital = (targets >= ord("A")) & (targets <= ord("Z"))
    return torch.where(is_capital, (logits.argmax(-1) == targets).float(), torch.nan)


study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)),
    metric=pb.Metric("capitals_right", "share of capitals", better="higher", measure=capitals_right),
    margin=0.2,
    changes={"idea": ("*norm",)},
)
