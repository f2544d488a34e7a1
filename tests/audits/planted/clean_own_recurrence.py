"""A recurrent mixer of the user's own, which decodes with one vector per layer: far less state than keys and values."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class FadingMean(nn.Module):
    """y_t = W_o (g * m_t),  m_t = a m_(t-1) + (1 - a) W_v x_t,  g = sigmoid(W_g x_t)"""

    def __init__(self, d_model: int, fade: float = 0.9):
        super().__init__()
        self.fade = fade
        self.value, self.gate, self.out = (nn.Linear(d_model, d_model, bias=False) for _ in range(3))

    def forward(self, x):
        state, outputs = None, []
        for token in x.split(1, dim=1):
            y, state = self.step(token, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1)

    def step(self, x, state=None):
        before = torch.zeros_like(x) if state is None else state
        state = self.fade * before + (1 - self.fade) * self.value(x)
        return self.out(self.gate(x).sigmoid() * state), state


idea = pb.Arm(BASELINE.replace("*.mixer", pb.spec(FadingMean)), match="parameters", width="*.mlp.d_ff")
study = make_study(idea, changes={"idea": ("*.mixer", "*.mlp.d_ff")})
