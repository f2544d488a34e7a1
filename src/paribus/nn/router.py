"""Which experts a token visits: (B, T, D) -> Routing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.errors import SpecError
from paribus.nn.contract import TokenIds, here
from paribus.nn.init import Linear, reset_children
from paribus.nn.precision import at_least_float32, without_autocast

SLOT = "router"

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Routing:
    """M assignments of N = B T tokens to E experts; a dropless choice of A experts per token has M = N A.

    Args:
        tokens: (M,) index of each assignment's token in the flattened batch.
        experts: (M,) its expert.
        weights: (M,) factor on what the expert says of the token.
        probabilities: (B, T, E), not negative, summing to 1 over the experts.
        logits: (B, T, E) from which the probabilities come; None where there are none.
    """

    tokens: Tensor
    experts: Tensor
    weights: Tensor
    probabilities: Tensor
    logits: Tensor | None = None


def softmax(logits: Tensor) -> Tensor:
    """exp(l_e) / sum_j exp(l_j)"""
    return logits.softmax(-1)


def sigmoid(logits: Tensor) -> Tensor:
    """1 / (1 + exp(-l_e)), each expert for itself. Source: DeepSeek-AI 2024, arXiv:2412.19437, eq. 15."""
    return logits.sigmoid()


class TopK(nn.Module):
    """s = score(W x + noise);  chosen = the A largest of s + bias;  weight_e = scale s_e / sum over the chosen of s

    With ``n_groups`` > 1 the experts stand in groups of equal size, a group scores the sum of its two largest
    s + bias, and only the experts of the ``top_groups`` best groups are chosen from. With ``bias_rate`` each
    optimizer step ends with bias_e += bias_rate sign(mean load - load_e).

    Source: Shazeer et al. 2017, arXiv:1701.06538 (softmax over the chosen); Jiang et al. 2024, arXiv:2401.04088
    (Mixtral); DeepSeek-AI 2024, arXiv:2412.19437, eq. 12 to 16 (sigmoid, bias) and "node-limited routing" (groups);
    Wang et al. 2024, arXiv:2408.15664, algorithm 1 (the bias's update).
    Differs: scores are computed in float32, as in DeepSeek-V3, whatever autocast says; a group scores the sum of its
    best two, as in DeepSeek-V3's code, where the paper sums the best A / top_groups.
    Parity: transformers DeepseekV3MoE, MixtralSparseMoeBlock and Qwen3MoeSparseMoeBlock.

    Args:
        top_k: A.
        score: ``softmax``, ``sigmoid`` or a function of yours from logits (B, T, E) to positive scores.
        normalize: divide by the sum over the chosen; without it the weights are ``scale`` s. With it and one
            expert per token the weight is the constant 1, and only a balance loss trains W.
        bias_rate: None has no bias; 0.0 keeps it as it is.
        noise_std: of normal noise on the logits, in training only.
    """

    bias: Tensor | None
    load: Tensor | None

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        top_k: int = 2,
        score: Score = softmax,
        normalize: bool = True,
        scale: float = 1.0,
        n_groups: int = 1,
        top_groups: int = 1,
        bias_rate: float | None = None,
        noise_std: float = 0.0,
        init_std: float = 0.02,
    ):
        super().__init__()
        _require_choice(n_experts, top_k, n_groups, top_groups)
        self.n_experts, self.top_k, self.score, self.normalize, self.scale = n_experts, top_k, score, normalize, scale
        self.n_groups, self.top_groups, self.bias_rate, self.noise_std = n_groups, top_groups, bias_rate, noise_std
        self.gate = Linear(d_model, n_experts, init_std=init_std)
        corrected = bias_rate is not None
        self.register_buffer("bias", torch.zeros(n_experts) if corrected else None)
        self.register_buffer("load", torch.zeros(n_experts) if corrected else None)  # assignments of this step so far

    def reset_parameters(self) -> None:
        reset_children(self)
        if self.bias is not None and self.load is not None:
            self.bias.zero_()
            self.load.zero_()

    def forward(self, x: Tensor) -> Routing:
        logits = self._logits(x)  # (B, T, E)
        scores = self.score(logits)  # (B, T, E)
        experts = self._choose(scores.detach()).topk(self.top_k, dim=-1).indices  # (B, T, A)
        weights = scores.gather(-1, experts)  # (B, T, A)
        if self.normalize:
            # One weight alone is the constant 1: s / s would leave a gradient of rounding, of which Muon makes a step.
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) if self.top_k > 1 else torch.ones_like(weights)
        n = x.shape[0] * x.shape[1]
        routing = Routing(
            tokens=torch.arange(n, device=x.device).repeat_interleave(self.top_k),
            experts=experts.flatten(),
            weights=(self.scale * weights).flatten(),
            probabilities=scores / scores.sum(-1, keepdim=True),
            logits=logits,
        )
        if self.training and self.load is not None:
            self.load += count_per_expert(routing)
        return routing

    def after_step(self) -> None:
        """Move the bias towards an even load. The training loop calls it after every optimizer step."""
        if self.bias is not None and self.load is not None and self.bias_rate is not None:
            self.bias += self.bias_rate * (self.load.mean() - self.load).sign()
            self.load.zero_()

    def _logits(self, x: Tensor) -> Tensor:
        logits = _project(self.gate, x)
        if self.training and self.noise_std > 0:
            logits = logits + self.noise_std * torch.randn_like(logits)
        return logits

    def _choose(self, scores: Tensor) -> Tensor:
        """What decides: the scores with their bias, minus infinity outside the chosen groups."""
        if self.bias is not None:
            scores = scores + self.bias
        if self.n_groups == 1:
            return scores
        grouped = scores.unflatten(-1, (self.n_groups, -1))  # (B, T, groups, E / groups)
        of_group = grouped.topk(min(2, grouped.shape[-1]), dim=-1).values.sum(-1)  # (B, T, groups)
        best = of_group.topk(self.top_groups, dim=-1).indices
        outside = torch.ones_like(of_group, dtype=torch.bool).scatter(-1, best, False)
        return grouped.masked_fill(outside.unsqueeze(-1), -math.inf).flatten(-2)


class NoisyTopK(TopK):
    """h = W x + N(0, 1) softplus(V x);  chosen = the A largest of h;  weights = softmax over the chosen of h

    Source: Shazeer et al. 2017, arXiv:1701.06538, eq. 3 to 5.
    Differs: W and V start at N(0, init_std^2), not at 0; no noise in evaluation; the paper's losses on importance and
    load are not here, ``LoadBalance`` is.
    """

    def __init__(self, d_model: int, n_experts: int, top_k: int = 2, init_std: float = 0.02):
        super().__init__(d_model, n_experts, top_k, init_std=init_std)
        self.noise = Linear(d_model, n_experts, init_std=init_std)

    def _logits(self, x: Tensor) -> Tensor:
        logits = _project(self.gate, x)
        if self.training:
            logits = logits + torch.randn_like(logits) * F.softplus(_project(self.noise, x))
        return logits


class ExpertChoice(nn.Module):
    """s = softmax over experts of W x;  each expert takes the ceil(T A / E) tokens of a sequence with its largest s

    Not causal: whether a token is taken depends on the tokens after it. It is here as a control arm, and the
    causality audit invalidates what it wins.

    Source: Zhou et al. 2022, arXiv:2202.09368, eq. 1 and 2.
    Differs: experts choose within each sequence, not within the batch, so that sequences stay apart.

    Args:
        top_k: A, the mean number of experts per token (the paper's capacity factor).
    """

    def __init__(self, d_model: int, n_experts: int, top_k: float = 2, init_std: float = 0.02):
        super().__init__()
        if not 0 < top_k <= n_experts:
            raise SpecError(f"top_k must be above 0 and at most n_experts {n_experts}, got {top_k}{here()}")
        self.n_experts, self.top_k = n_experts, top_k
        self.gate = Linear(d_model, n_experts, init_std=init_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Routing:
        b, t, _ = x.shape
        logits = _project(self.gate, x)
        scores = softmax(logits)  # (B, T, E)
        capacity = math.ceil(t * self.top_k / self.n_experts)
        weights, places = scores.transpose(1, 2).topk(capacity, dim=-1)  # (B, E, C)
        first = t * torch.arange(b, device=x.device).view(b, 1, 1)
        experts = torch.arange(self.n_experts, device=x.device).view(1, -1, 1)
        return Routing(
            tokens=(first + places).flatten(),
            experts=experts.expand_as(places).flatten(),
            weights=weights.flatten(),
            probabilities=scores,
            logits=logits,
        )


class Hash(nn.Module):
    """chosen = table[token id],  a random table in which every expert has the same number of ids, give or take A

    Source: Roller et al. 2021, arXiv:2106.04426, section 3.1 (random hash).
    Differs: balanced over ids, not drawn for each alone; more than one expert per token, whose mean is taken.

    Args:
        tokens: where the ids of the batch are read; the model hands it down.
    """

    table: Tensor

    def __init__(self, n_experts: int, vocab_size: int, tokens: TokenIds, top_k: int = 1):
        super().__init__()
        _require_choice(n_experts, top_k)
        self.n_experts, self.top_k, self.tokens = n_experts, top_k, tokens
        self.register_buffer("table", torch.zeros(vocab_size, top_k, dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        vocab_size, device = len(self.table), self.table.device
        rank = torch.randperm(vocab_size, device=device)
        # Ids are dealt out in rounds of E; within a round a constant shift of all ids keeps the balance.
        rounds = math.ceil(vocab_size / self.n_experts)
        shifts = 1 + torch.rand(rounds, self.n_experts - 1, device=device).argsort(-1)[:, : self.top_k - 1]
        shifts = torch.cat((shifts.new_zeros(rounds, 1), shifts), dim=-1)  # (rounds, A)
        self.table.copy_((rank.unsqueeze(-1) + shifts[rank // self.n_experts]) % self.n_experts)

    def forward(self, x: Tensor) -> Routing:
        ids = self.tokens.ids
        if ids.shape != x.shape[:2]:
            raise SpecError(f"Hash got token ids of shape {tuple(ids.shape)} for an input of shape {tuple(x.shape)}")
        experts = self.table[ids]  # (B, T, A)
        dtype = at_least_float32(x)
        return Routing(
            tokens=torch.arange(ids.numel(), device=x.device).repeat_interleave(self.top_k),
            experts=experts.flatten(),
            weights=torch.full((experts.numel(),), 1 / self.top_k, dtype=dtype, device=x.device),
            probabilities=F.one_hot(experts, self.n_experts).sum(2).to(dtype) / self.top_k,
        )


@torch.no_grad()
def count_per_expert(routing: Routing) -> Tensor:
    """How many assignments each expert got, (E,), as floating-point numbers."""
    counts = routing.probabilities.new_zeros(routing.probabilities.shape[-1])
    return counts.index_add(0, routing.experts, torch.ones_like(routing.experts, dtype=counts.dtype))


def _project(gate: Linear, x: Tensor) -> Tensor:
    """W x in float32 or better: a score that autocast rounds decides otherwise."""
    dtype = at_least_float32(x)
    with without_autocast(x):
        return F.linear(x.to(dtype), gate.weight.to(dtype))  # (B, T, E)


def _require_choice(n_experts: int, top_k: int, n_groups: int = 1, top_groups: int = 1) -> None:
    if n_groups < 1 or n_experts % n_groups:
        raise SpecError(f"n_experts {n_experts} is no multiple of n_groups {n_groups}{here()}")
    if not 1 <= top_groups <= n_groups:
        raise SpecError(f"top_groups must be from 1 to n_groups {n_groups}, got {top_groups}{here()}")
    choice = n_experts // n_groups * top_groups
    if not 1 <= top_k <= choice:
        raise SpecError(f"top_k must be from 1 to the {choice} experts there are to choose from, got {top_k}{here()}")
