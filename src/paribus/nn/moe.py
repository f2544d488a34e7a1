"""Mixture of experts: a feed-forward part of which every token uses a share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.errors import PartError, SpecError
from paribus.nn.contract import build, here
from paribus.nn.experts import Experts
from paribus.nn.init import reset_children
from paribus.nn.router import Routing, TopK, count_per_expert

SLOT = "mlp"


class MoE(nn.Module):
    """y_t = sum over the experts e chosen for t of weight_(t,e) expert_e(x_t)  +  shared(x_t)

    No token is dropped for want of room: an expert takes whatever is sent to it.

    Source: Shazeer et al. 2017, arXiv:1701.06538, eq. 1; Dai et al. 2024, arXiv:2401.06066, eq. 9 (shared experts).
    Differs: no capacity factor. In a model that applies a block several times, ``aux`` and ``diagnostics`` speak of its
    last application alone.
    Parity: transformers DeepseekV3MoE, MixtralSparseMoeBlock and Qwen3MoeSparseMoeBlock.

    Args:
        router: spec of a part of the router slot.
        experts: spec of ``Experts``, ``GatedExperts`` or a class of yours with their
            ``forward(x, counts, order)``; the hidden width is its argument.
        shared: spec of an MLP that sees every token.
        losses: specs of losses such as ``spec(LoadBalance, weight=0.01)``, on the routing of the last forward.
    """

    def __init__(
        self,
        d_model: int,
        n_experts: int = 8,
        router: Spec = spec(TopK),
        experts: Spec = spec(Experts),
        shared: Spec | None = None,
        losses: tuple[Spec, ...] = (),
    ):
        super().__init__()
        if n_experts < 1:
            raise SpecError(f"n_experts must be at least 1, got {n_experts}{here()}")
        self.n_experts = n_experts
        self.router = build(router, "router", d_model, slot="router", n_experts=n_experts)
        self.experts = build(experts, "experts", d_model, n_experts=n_experts)
        self.shared = None if shared is None else build(shared, "shared", d_model, slot="mlp")
        self.losses = {loss.cls.__name__: build(loss, f"losses.{i}") for i, loss in enumerate(losses)}
        if len(self.losses) < len(losses):
            raise SpecError(f"a loss is given twice: {', '.join(loss.cls.__name__ for loss in losses)}{here()}")
        self._routing: Routing | None = None
        self._site = here()

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        routing = self.router(x)
        if not isinstance(routing, Routing):
            name, got = type(self.router).__name__, type(routing).__name__
            raise PartError(f"the router {name} returns a {got}, expected paribus.nn.Routing{self._site}")
        self._routing = routing
        order = routing.experts.argsort(stable=True)  # (M,)
        tokens = routing.tokens.index_select(0, order)  # (M,)
        rows = self.experts(x.flatten(0, 1).index_select(0, tokens), _split(routing), order)  # (M, D)
        weighted = rows * routing.weights.index_select(0, order).unsqueeze(-1)  # (M, D)
        y = weighted.new_zeros(x.shape).flatten(0, 1).index_add(0, tokens, weighted)  # (N, D)
        y = y.to(rows.dtype).view_as(x)  # the weights are float32 under autocast
        return y if self.shared is None else y + self.shared(x)

    def aux(self) -> dict[str, Tensor]:
        """The weighted losses of the last forward, by name."""
        if self._routing is None:
            return {}
        return {name: loss.weight * loss(self._routing) for name, loss in self.losses.items()}

    @torch.no_grad()
    def diagnostics(self) -> dict[str, Tensor]:
        """How the last forward was routed.

        load (E,) is each expert's share of the assignments, entropy that of the probabilities in nats per token,
        dropped the share of tokens that no expert took, unused the number of experts without a token.
        """
        if self._routing is None:
            return {}
        counts, p = count_per_expert(self._routing), self._routing.probabilities
        taken = torch.zeros(p.shape[:2].numel(), device=p.device).index_fill(0, self._routing.tokens, 1.0)
        found = {
            "load": counts / counts.sum(),
            "entropy": -torch.xlogy(p, p).sum(-1).mean(),
            "dropped": 1 - taken.mean(),
            "unused": (counts == 0).sum(),
        }
        bias = getattr(self.router, "bias", None)
        return found if bias is None else {**found, "bias_min": bias.min(), "bias_max": bias.max()}

    def idle_parameters(self) -> int:
        """Parameters of the experts that a token does not visit, on average; what they share is not idle."""
        stacked = sum(p.numel() for p in self.experts.parameters() if p.ndim > 1 and len(p) == self.n_experts)
        visited = getattr(self.router, "top_k", self.n_experts)
        return round(stacked * (1 - visited / self.n_experts))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_routing": None}  # a copy has not routed anything


def _split(routing: Routing) -> list[int]:
    """How many rows each expert gets. On "meta" there are no numbers, and a cost does not depend on the split."""
    counts = count_per_expert(routing)
    if not counts.is_meta:
        return counts.long().tolist()
    share, rest = divmod(len(routing.experts), len(counts))
    return [share + (e < rest) for e in range(len(counts))]
