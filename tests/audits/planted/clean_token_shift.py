"""RWKV-like mixing: each feature sees a learned blend of its own token and the one before."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Blended(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.blend = nn.Parameter(torch.linspace(0, 1, d_model))
        self.decay = nn.Parameter(torch.linspace(-3, 3, d_model))
        self.receive, self.value = (nn.Linear(d_model, d_model, bias=False) for _ in range(2))
        self.write, self.out = (nn.Linear(d_model, d_model, bias=False) for _ in range(2))

    def forward(self, x):
        earlier = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)
        x = self.blend * x + (1 - self.blend) * earlier
        written = self.write(x).sigmoid() * self.value(x)
        place = torch.arange(x.shape[1], device=x.device)
        distance = (place[:, None] - place).clamp(min=0)
        weights = self.decay.sigmoid() ** distance[..., None] * (place[:, None] >= place)[..., None]
        return self.out(self.receive(x).sigmoid() * torch.einsum("tsd,bsd->btd", weights, written))


study = make_study(BASELINE.replace("*.mixer", pb.spec(Blended)))
