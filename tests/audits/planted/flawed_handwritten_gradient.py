"""A norm with its own backward pass, which forgets that the scale depends on the input. (Origin 17.)"""

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, eps):
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, gain, scale)
        return x * scale * gain

    @staticmethod
    def backward(ctx, grad):
        x, gain, scale = ctx.saved_tensors
        return grad * gain * scale, (grad * x * scale).flatten(0, -2).sum(0), None


class FastRMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return _Normalize.apply(x, self.gain, self.eps)


study = make_study(BASELINE.replace("*norm", pb.spec(FastRMSNorm)))
CAUGHT = {"check": "conformance", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer_norm"}
