"""Losses that act on a router: each maps the last routing to one number, and says its weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paribus.errors import SpecError
from paribus.nn.router import Routing, count_per_expert


@dataclass(frozen=True)
class LoadBalance:
    """E sum_e f_e P_e,  f_e = share of the assignments that expert e got,  P_e = mean probability of expert e

    It is 1 where every expert has the same load and probability, for every number of experts per token. Both are means
    over one forward pass, so smaller micro-batches ask for evenness within each of them.
    Source: Fedus, Zoph, Shazeer 2021, arXiv:2101.03961, eq. 4 to 6.
    Differs: f_e is a share of the assignments, not of the tokens, which are A times fewer.
    """

    weight: float = 0.01

    def __call__(self, routing: Routing) -> Tensor:
        share = count_per_expert(routing) / len(routing.experts)  # (E,)
        probability = routing.probabilities.flatten(0, 1).mean(0)  # (E,)
        return len(share) * (share * probability).sum()


@dataclass(frozen=True)
class SequenceBalance:
    """mean over sequences of E sum_e f_e P_e,  f_e = share of e among the A largest probabilities of each token

    f_e and P_e are of one sequence each. A correction bias or a group that moves the choice does not move f_e.

    Source: DeepSeek-AI 2024, arXiv:2412.19437, eq. 17 to 20.
    """

    weight: float = 1e-4

    def __call__(self, routing: Routing) -> Tensor:
        b, t, n_experts = routing.probabilities.shape
        top_k = max(1, len(routing.experts) // (b * t))
        best = routing.probabilities.topk(top_k, dim=-1).indices.flatten(1)  # (B, T A)
        share = torch.zeros_like(routing.probabilities[:, 0]).scatter_add(
            1, best, torch.full_like(best, 1 / best.shape[1], dtype=routing.probabilities.dtype)
        )  # (B, E)
        probability = routing.probabilities.mean(1)  # (B, E)
        return n_experts * (share * probability).sum(-1).mean()


@dataclass(frozen=True)
class RouterZ:
    """mean over tokens of logsumexp(logits)^2

    Source: Zoph et al. 2022, arXiv:2202.08906, eq. 5.
    """

    weight: float = 1e-3

    def __call__(self, routing: Routing) -> Tensor:
        if routing.logits is None:
            raise SpecError("RouterZ acts on a router's logits, and this router has none; leave it out of losses")
        return routing.logits.logsumexp(-1).square().mean()
