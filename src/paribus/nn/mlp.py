"""Token-wise feed-forward parts: (B, T, D) -> (B, T, D), no residual inside."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.nn.contract import build, require_positive
from paribus.nn.init import Linear, reset_children

SLOT = "mlp"

Activation = Callable[[Tensor], Tensor]


def relu(x: Tensor) -> Tensor:
    """max(x, 0)"""
    return F.relu(x)


def gelu(x: Tensor) -> Tensor:
    """x Phi(x). Source: Hendrycks, Gimpel 2016, arXiv:1606.08415."""
    return F.gelu(x)


def gelu_tanh(x: Tensor) -> Tensor:
    """x Phi(x) by the tanh formula of the same paper, section 2, which GPT-2 uses."""
    return F.gelu(x, approximate="tanh")


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x). Source: Elfwing et al. 2017, arXiv:1702.03118."""
    return F.silu(x)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2. Source: So et al. 2021, arXiv:2109.08668."""
    return F.relu(x).square()


class MLP(nn.Module):
    """y = W_down act(W_up x + b_up) + b_down

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3 (ReLU); with GELU: GPT-2.
    Parity: transformers GPT2LMHeadModel with activation=gelu_tanh.

    Args:
        d_ff: hidden width F; None is 4 D.
        activation: a function, or a class or spec of a module without arguments left open.
        out_std: initial std of the projection back to the residual stream; None is ``init_std``.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int | None = None,
        activation: Activation | type[nn.Module] | Spec = relu,
        bias: bool = False,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        d_ff = 4 * d_model if d_ff is None else d_ff
        require_positive(d_ff=d_ff)
        self.up = Linear(d_model, d_ff, bias, init_std)
        self.activation = build_activation(activation)
        self.down = Linear(d_ff, d_model, bias, init_std if out_std is None else out_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.up(x))  # (B, T, F)
        return self.down(hidden)  # (B, T, D)


class GatedMLP(nn.Module):
    """y = W_down (act(W_gate x) * W_up x)

    SwiGLU with ``activation=silu``, GEGLU with ``gelu``, ReGLU with ``relu``.
    Source: Shazeer 2020, arXiv:2002.05202, eq. 5 and 6.
    Parity: transformers DeepseekV3MLP and LlamaForCausalLM.

    Args:
        d_ff: hidden width F; None is ``gated_width(d_model)``, the parameters of an MLP with 4 D.
        activation, out_std: as in MLP.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int | None = None,
        activation: Activation | type[nn.Module] | Spec = silu,
        bias: bool = False,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        d_ff = gated_width(d_model) if d_ff is None else d_ff
        require_positive(d_ff=d_ff)
        self.gate = Linear(d_model, d_ff, bias, init_std)
        self.up = Linear(d_model, d_ff, bias, init_std)
        self.activation = build_activation(activation)
        self.down = Linear(d_ff, d_model, bias, init_std if out_std is None else out_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.gate(x)) * self.up(x)  # (B, T, F)
        return self.down(hidden)  # (B, T, D)


def gated_width(d_model: int, multiple: int = 8) -> int:
    """8/3 of ``d_model``, to the nearest multiple: three matrices with the parameters of two at 4 D."""
    return max(1, round(8 * d_model / 3 / multiple)) * multiple


def build_activation(activation: Activation | type[nn.Module] | Spec) -> Activation:
    """A function stays; a class or spec becomes a child module at the site ``activation``."""
    if isinstance(activation, type):
        activation = spec(activation)
    return build(activation, "activation") if isinstance(activation, Spec) else activation
