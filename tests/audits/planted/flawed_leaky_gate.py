"""A mixer that gates the next token's values by a sigmoid far below zero: open once its weights have grown."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class PeekingGate(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.value, self.gate = pb.nn.Linear(d_model, d_model), pb.nn.Linear(d_model, d_model)

    def forward(self, x):
        value = self.value(x)
        before, after = (torch.roll(value, by, 1) for by in (1, -1))
        before, after = before * (torch.arange(x.shape[1]) > 0)[:, None], after.clone()
        after[:, -1] = 0
        return before + after * torch.sigmoid(self.gate(x) - 40.0)


study = make_study(BASELINE.replace("*.mixer", pb.spec(PeekingGate)), changes={"idea": ("*.mixer",)})
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
ALSO = ("parameters and FLOPs", "initial scale")
