"""Language models that apply the same blocks several times: tokens (B, T) -> logits (B, T, V)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.errors import SpecError
from paribus.nn.attention import split_width
from paribus.nn.contract import TokenIds, build, here, require_positive
from paribus.nn.init import Embedding, reset_children
from paribus.nn.norm import LayerNorm, NoNorm
from paribus.nn.position import NoPosition
from paribus.nn.precision import at_least_float32
from paribus.nn.transformer import Transformer, embed_tokens, read_out

SLOT = "model"


def one_step(n_cycles: int, n_steps: int) -> int:
    """1: the last update of each state, as in the paper."""
    return 1


def last_cycle(n_cycles: int, n_steps: int) -> int:
    """n_steps: the low updates of the last cycle, and the high one after them."""
    return n_steps


def full(n_cycles: int, n_steps: int) -> int:
    """n_cycles n_steps: every update of the segment."""
    return n_cycles * n_steps


class HRM(nn.Module):
    """zL = f_L(zL + zH + x), n_cycles n_steps times; zH = f_H(zH + zL) after every n_steps; logits = W_head norm(zH)

    with x = position(c E[tokens]) and f_L, f_H stacks of blocks. That is one segment; the next goes on from its zL and
    zH without their gradient. zL and zH start from vectors drawn once and never trained. The loss is the mean of the
    segments' losses, and the logits are the last segment's.

    Source: Wang et al. 2025, arXiv:2506.21734, section 2 and figure 4.
    Differs: causal, one token per position and its successor as the target; no halting, which would pool over the
    sequence and leak; the segments share one optimizer step; weights start at ``init_std``, the head is tied to the
    embedding. The blocks are those of the spec; the paper's are ``PostNorm`` with RMSNorm, SwiGLU and RoPE.

    Args:
        low: one spec per block of f_L.
        high: one spec per block of f_H; the blocks' ``layer`` counts on from the low ones.
        n_steps: low updates per high one.
        gradient: how many of the last low updates of a segment keep their gradient, with the high updates among them,
            as a function of n_cycles and n_steps: ``one_step``, ``last_cycle``, ``full`` or your own.
        final_norm: none in the paper, whose blocks end in one.
        embedding_scale: c; None is sqrt(D).
        position, head, dropout, init_std: as in Transformer.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        low: tuple[Spec, ...],
        high: tuple[Spec, ...],
        vocab_size: int,
        seq_len: int,
        n_cycles: int = 2,
        n_steps: int = 2,
        n_segments: int = 1,
        gradient: Callable[[int, int], int] = one_step,
        position: Spec = spec(NoPosition),
        final_norm: Spec = spec(NoNorm),
        head: Spec | None = None,
        head_dim: int | None = None,
        embedding_scale: float | None = None,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        if not low or not high:
            raise SpecError(f"HRM needs at least one low and one high block, got {len(low)} and {len(high)}{here()}")
        counts = {"n_cycles": n_cycles, "n_steps": n_steps, "n_segments": n_segments}
        if wrong := [f"{name}={count}" for name, count in counts.items() if count < 1]:
            raise SpecError(f"HRM needs at least 1 of each, got {', '.join(wrong)}{here()}")
        self.n_steps, self.n_segments, self.n_updates = n_steps, n_segments, n_cycles * n_steps
        self.n_kept = gradient(n_cycles, n_steps)
        if not 1 <= self.n_kept <= self.n_updates:
            raise SpecError(f"gradient keeps {self.n_kept} of {self.n_updates} updates, expected 1 or more{here()}")
        head_dim = split_width(d_model, n_heads) if head_dim is None else head_dim
        require_positive(head_dim=head_dim)
        self.tokens = TokenIds()
        legend = {
            "d_model": d_model,
            "n_heads": n_heads,
            "head_dim": head_dim,
            "n_layers": len(low) + len(high),
            "vocab_size": vocab_size,
            "seq_len": seq_len,
            "dropout": dropout,
            "init_std": init_std,
            "out_std": out_std,
            "tokens": self.tokens,
        }
        self.embedding_scale = math.sqrt(d_model) if embedding_scale is None else embedding_scale
        self.embedding = Embedding(vocab_size, d_model, init_std)
        self.position = build(position, "position", slot="position", **legend)
        self.dropout = nn.Dropout(dropout)
        self.low_start, self.high_start = _Start(d_model), _Start(d_model)
        placed = {**legend, "position": self.position}
        self.low = nn.ModuleList(
            build(block, f"low.{i}", d_model, slot="block", **{**placed, "layer": i}) for i, block in enumerate(low)
        )
        self.high = nn.ModuleList(
            build(block, f"high.{i}", d_model, slot="block", **{**placed, "layer": len(low) + i})
            for i, block in enumerate(high)
        )
        self.final_norm = build(final_norm, "final_norm", d_model, slot="norm", **legend)
        self.head = None
        if head is not None:
            self.head = build(head, "head", d_model, vocab_size, slot="head", **legend)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, tokens: Tensor) -> Tensor:
        *_, last = self._segments(embed_tokens(self, tokens))
        return read_out(self, self.final_norm(last))  # (B, T, V)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the segments, nats per token; targets are (B, T)."""
        losses = []
        for high in self._segments(embed_tokens(self, tokens)):
            logits = read_out(self, self.final_norm(high))
            logits = logits.to(at_least_float32(logits))
            losses.append(F.cross_entropy(logits.flatten(0, 1), targets.flatten()))
        return reduce(torch.add, losses) / len(losses)

    def _segments(self, x: Tensor) -> Iterator[Tensor]:
        """zH at the end of every segment, (B, T, D)."""
        low, high = self.low_start.value.expand_as(x), self.high_start.value.expand_as(x)
        for _ in range(self.n_segments):
            low, high = self._segment(x, low.detach(), high.detach())
            yield high

    def _segment(self, x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        wanted = torch.is_grad_enabled()
        for update in range(1, self.n_updates + 1):
            with torch.set_grad_enabled(wanted and update > self.n_updates - self.n_kept):
                low = _through(self.low, low + high + x)
                if update % self.n_steps == 0:
                    high = _through(self.high, high + low)
        return low, high


class LoopedTransformer(Transformer):
    """logits = W_head norm(f^n(x)),  f = block_L(... block_1(...)),  x = position(c E[tokens])

    Source: Dehghani et al. 2018, arXiv:1807.03819, section 2.1 (Universal Transformer);
    Giannou et al. 2023, arXiv:2301.13196.
    Differs: no halting, no embedding of the loop's number; the looped part may be several blocks.

    Args:
        n_loops: n; 1 is the Transformer of the same blocks.
        inject: what a loop after the first begins with, from the state and the embeddings x, such as ``add_input``;
            None is the state alone.
        position, head, embedding_scale, dropout, init_std: as in Transformer.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        blocks: tuple[Spec, ...],
        vocab_size: int,
        seq_len: int,
        n_loops: int = 2,
        inject: Callable[[Tensor, Tensor], Tensor] | None = None,
        position: Spec = spec(NoPosition),
        final_norm: Spec = spec(LayerNorm),
        head: Spec | None = None,
        head_dim: int | None = None,
        embedding_scale: float = 1.0,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        if n_loops < 1:
            raise SpecError(f"n_loops must be at least 1, got {n_loops}{here()}")
        super().__init__(
            d_model=d_model,
            n_heads=n_heads,
            blocks=blocks,
            vocab_size=vocab_size,
            seq_len=seq_len,
            position=position,
            final_norm=final_norm,
            head=head,
            head_dim=head_dim,
            embedding_scale=embedding_scale,
            dropout=dropout,
            init_std=init_std,
            out_std=out_std,
        )
        self.n_loops, self.inject = n_loops, inject

    def transform(self, x: Tensor) -> Tensor:
        start = x
        for loop in range(self.n_loops):
            if loop > 0 and self.inject is not None:
                x = self.inject(x, start)
            x = super().transform(x)
        return x


def add_input(x: Tensor, start: Tensor) -> Tensor:
    """x + start"""
    return x + start


class _Start(nn.Module):
    """A vector drawn once and never trained: a normal cut off at two of its deviations, widened to variance 1."""

    value: Tensor

    def __init__(self, d_model: int):
        super().__init__()
        self.register_buffer("value", torch.empty(d_model))  # (D,)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.value, std=_WIDENED, a=-2 * _WIDENED, b=2 * _WIDENED)


# The variance of a standard normal cut off at +-2 is 1 - 4 density(2) / P(|z| < 2).
_WIDENED = (1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))) ** -0.5


def _through(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x
