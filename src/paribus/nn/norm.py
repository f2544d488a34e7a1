"""Normalization over the last axis: (..., D) -> (..., D).

To add a norm, write a class like these. Its first argument is the width; everything else needs a default. Its
docstring gives the formula first, then the ``Source:``, without which the class is not listed. A line in
``nn/__init__.pyi`` makes it ``pb.nn.Name``; ``make pages`` writes it into docs/parts.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOT = "norm"


class LayerNorm(nn.Module):
    """y = (x - mean(x)) / sqrt(var(x) + eps) * g + b

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.
    Parity: torch.nn LayerNorm, and transformers GPT2LMHeadModel.
    """

    def __init__(self, dim: int, eps: float = 1e-5, gain: bool = True, bias: bool = True):
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim)) if gain else None  # (D,)
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None  # (D,)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.dim,), self.weight, self.bias, self.eps)  # (..., D)


def gain_then_cast(x: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    """RMSNorm with the gain applied in float32 and one rounding at the end: torch's order."""
    if gain is None or gain.dtype is x.dtype:
        return F.rms_norm(x, x.shape[-1:], gain, eps)
    return F.rms_norm(x.to(gain.dtype), x.shape[-1:], gain, eps).to(x.dtype)  # under autocast


def cast_then_gain(x: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    """RMSNorm rounded to the input's type before the gain: the order of Llama and DeepSeek-V3."""
    y = F.rms_norm(x, x.shape[-1:], None, eps)
    return y if gain is None else gain * y


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * g

    Source: Zhang, Sennrich 2019, arXiv:1910.07467, eq. 4.
    Differs: the paper has no eps.
    Parity: transformers LlamaRMSNorm and DeepseekV3RMSNorm with order=cast_then_gain.

    Args:
        order: ``gain_then_cast`` or ``cast_then_gain``; in float32 they are the same function.
    """

    def __init__(
        self,
        dim: int,
        eps: float = 1e-6,
        gain: bool = True,
        order: Callable[[Tensor, Tensor | None, float], Tensor] = gain_then_cast,
    ):
        super().__init__()
        self.eps = eps
        self.order = order
        self.weight = nn.Parameter(torch.empty(dim)) if gain else None  # (D,)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.order(x, self.weight, self.eps)  # (..., D)


class ScaleNorm(nn.Module):
    """y = g * x / max(||x||, eps),  g a scalar

    Source: Nguyen, Salazar 2019, arXiv:1910.05895; g starts at sqrt(D).
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, math.sqrt(self.dim))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # (..., 1)
        return x * (self.weight / length.clamp_min(self.eps))  # (..., D)


class DyT(nn.Module):
    """y = g * tanh(alpha * x) + b,  alpha a scalar

    Source: Zhu, Chen, He, LeCun, Liu 2025, arXiv:2503.10622, section 4; alpha starts at 0.5.
    Differs: the paper's language models also learn a scale of the embeddings and start alpha higher in the norms
    of attention than elsewhere; not here.
    """

    def __init__(self, dim: int, alpha: float = 0.5):
        super().__init__()
        self.alpha_start = alpha
        self.alpha = nn.Parameter(torch.empty(1))
        self.weight = nn.Parameter(torch.empty(dim))  # (D,)
        self.bias = nn.Parameter(torch.empty(dim))  # (D,)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.alpha, self.alpha_start)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, self.weight, torch.tanh(self.alpha * x))  # (..., D)


class NoNorm(nn.Module):
    """y = x

    Source: none, a control.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x
