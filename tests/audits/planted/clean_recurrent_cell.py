"""A gated recurrence, one token after the other, whose state starts afresh in every sequence."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class GatedRecurrence(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.gates = nn.Linear(d_model, 2 * d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        forget, write = self.gates(x).sigmoid().chunk(2, dim=-1)
        written = write * self.value(x)
        state, states = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = forget[:, t] * state + written[:, t]
            states.append(state)
        return self.out(torch.stack(states, dim=1).tanh())


own = BASELINE.replace("*.mixer", pb.spec(GatedRecurrence))
study = make_study(pb.Arm(own, match="flops", width="*.mlp.d_ff"))
