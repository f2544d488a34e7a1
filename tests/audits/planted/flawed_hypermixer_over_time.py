"""A HyperMixer whose generated weights mix the whole window at once, without prefix sums. (Origin 17.)"""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class HyperMixer(nn.Module):
    """Mai et al. 2022: two token-mixing matrices, generated from the tokens."""

    def __init__(self, d_model: int, hidden: int = 32):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, hidden))
        self.second = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, hidden))

    def forward(self, x):
        hidden = self.first(x).mT @ x  # (B, R, D)
        return self.second(x) @ F.gelu(hidden)


study = make_study(BASELINE.replace("*.mixer", pb.spec(HyperMixer)))
CAUGHT = {"check": "causality", "severity": "invalid", "arm": "idea", "site": "blocks.0.mixer"}
