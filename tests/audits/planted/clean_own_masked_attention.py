"""Attention written out, with its own mask, slack in the softmax, and the initial weights of torch."""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class SlackAttention(nn.Module):
    """softmax with 1 added to its denominator: a head may attend to nothing."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(future, -torch.inf)
        weights = torch.cat((scores, scores.new_zeros(b, self.n_heads, t, 1)), -1).softmax(-1)[..., :-1]
        return self.out((weights @ v).transpose(1, 2).reshape(b, t, d))


study = make_study(BASELINE.replace("*.mixer", pb.spec(SlackAttention)), changes={"idea": ("*.mixer",)})
