"""A recurrent mixer that detaches its state and what it reads from it: its weights never train. (Origin 17.)"""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Recurrent(nn.Module):
    """A tanh recurrence; the state is detached to keep memory flat."""

    def __init__(self, d_model: int):
        super().__init__()
        self.read = nn.Linear(d_model, d_model, bias=False)
        self.keep = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = torch.tanh(self.read(x[:, t]) + self.keep(state)).detach()
            states.append(state)
        return self.out(torch.stack(states, 1))


study = make_study(pb.Arm(BASELINE.replace("*.mixer", pb.spec(Recurrent)), match="parameters", width="*.mlp.d_ff"))
CAUGHT = {"check": "dead parameters", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer"}
ALSO = ("conformance",)  # the part alone fails its gradient check for the same reason
