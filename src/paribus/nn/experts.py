"""Experts: many feed-forward parts of equal shape, each applied to the tokens that were sent to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.nn.contract import require_positive
from paribus.nn.init import reset_children
from paribus.nn.mlp import Activation, build_activation, gated_width, relu, silu


class ExpertLinear(nn.Module):
    """y = W_e x for expert e,  W_e ~ N(0, init_std^2), each (out, in) as in nn.Linear"""

    def __init__(self, n_experts: int, d_in: int, d_out: int, init_std: float = 0.02):
        super().__init__()
        self.init_std = init_std
        self.weight = nn.Parameter(torch.empty(n_experts, d_out, d_in))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.init_std)


class Experts(nn.Module):
    """y = W_down,e dropout(act(W_up,e x)) for expert e

    Source: Shazeer et al. 2017, arXiv:1701.06538, section 3 (ReLU).

    Args:
        d_ff: hidden width F of one expert; None is 4 D.
        activation: as in MLP; one for all experts.
        out_std: initial std of the projection back to the residual stream; None is ``init_std``.
    """

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        d_ff: int | None = None,
        activation: Activation | type[nn.Module] | Spec = relu,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        d_ff = 4 * d_model if d_ff is None else d_ff
        require_positive(d_ff=d_ff)
        self.dropout = dropout
        self.up = ExpertLinear(n_experts, d_model, d_ff, init_std)
        self.activation = build_activation(activation)
        self.down = ExpertLinear(n_experts, d_ff, d_model, init_std if out_std is None else out_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor, counts: list[int], order: Tensor) -> Tensor:
        """What expert 0 says of the first counts[0] rows of ``x`` (M, D), expert 1 of the next, and so on.

        ``order`` (M,) is each row's place among the assignments before they were sorted by expert.
        """
        # weight[e] would have a backward of E gradients of full size; unbind has one.
        stacks = (part.weight.unbind() for part in (self.up, self.down))
        keeps = _draw_kept(self, x, counts, order)
        outputs = []
        for rows, kept, up, down in zip(x.split(counts), keeps, *stacks, strict=True):
            hidden = self.activation(F.linear(rows, up))  # (M_e, F)
            outputs.append(F.linear(_drop(hidden, kept, self.dropout), down))
        return torch.cat(outputs)  # (M, D)


class GatedExperts(nn.Module):
    """y = W_down,e dropout(act(W_gate,e x) * W_up,e x) for expert e

    Source: Shazeer 2020, arXiv:2002.05202, eq. 5 and 6; Jiang et al. 2024, arXiv:2401.04088 (SwiGLU experts).

    Args:
        d_ff: hidden width F of one expert; None is ``gated_width(d_model)``, the parameters of Experts with 4 D.
        activation, out_std: as in Experts.
    """

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        d_ff: int | None = None,
        activation: Activation | type[nn.Module] | Spec = silu,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        d_ff = gated_width(d_model) if d_ff is None else d_ff
        require_positive(d_ff=d_ff)
        self.dropout = dropout
        self.gate = ExpertLinear(n_experts, d_model, d_ff, init_std)
        self.up = ExpertLinear(n_experts, d_model, d_ff, init_std)
        self.activation = build_activation(activation)
        self.down = ExpertLinear(n_experts, d_ff, d_model, init_std if out_std is None else out_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor, counts: list[int], order: Tensor) -> Tensor:
        """As in Experts."""
        stacks = (part.weight.unbind() for part in (self.gate, self.up, self.down))
        keeps = _draw_kept(self, x, counts, order)
        outputs = []
        for rows, kept, gate, up, down in zip(x.split(counts), keeps, *stacks, strict=True):
            hidden = self.activation(F.linear(rows, gate)) * F.linear(rows, up)  # (M_e, F)
            outputs.append(F.linear(_drop(hidden, kept, self.dropout), down))
        return torch.cat(outputs)  # (M, D)


def _draw_kept(part: Experts | GatedExperts, x: Tensor, counts: list[int], order: Tensor) -> Sequence[Tensor | None]:
    """Which hidden units dropout keeps, (M_e, F) per expert; None without dropout.

    Drawn in the order of the assignments: by expert, the noise of a token would depend on the tokens after it.
    """
    if not part.training or part.dropout == 0:
        return [None] * len(counts)
    kept = torch.rand(len(x), part.up.weight.shape[1], device=x.device) >= part.dropout
    return kept.index_select(0, order).split(counts)


def _drop(hidden: Tensor, kept: Tensor | None, rate: float) -> Tensor:
    return hidden if kept is None else hidden * kept / (1 - rate)
