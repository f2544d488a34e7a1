"""What a part is fed in each slot to be tried alone, at small sizes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.nn.attention import Attention
from paribus.nn.contract import TokenIds, build, build_at
from paribus.nn.experts import Experts
from paribus.nn.init import reset_children
from paribus.nn.mlp import silu
from paribus.nn.moe import MoE
from paribus.nn.noise import seeded
from paribus.nn.position import NoPosition
from paribus.nn.slots import SLOTS

BATCH, TIME, _VOCAB, _WIDTH = 3, 13, 61, 47  # primes, so that a swapped axis cannot go unseen
_HEADS, _HEAD_DIM, _EXPERTS = 6, 16, 5
_SIGNS = 6  # of an input's features make a token id
SEED = 0


@dataclass(frozen=True)
class Subject:
    """A part under examination: how to make it, what to feed it, what shape to expect."""

    make: Callable[[], nn.Module]
    path: str
    draw: Callable[[], Tensor]
    out_shape: tuple[int, ...]

    def random(self) -> nn.Module:
        """The part in float64 with no weight at a special value such as 0 or 1."""
        module = self.make().double()
        with torch.no_grad(), seeded(1):
            for p in module.parameters():
                p.add_((0.5 / math.sqrt(p.shape[-1]) if p.ndim >= 2 else 0.2) * torch.randn_like(p))
        return module

    def input(self, seed: int = 2) -> Tensor:
        with seeded(seed):
            return self.draw()


def _features(site: Spec, slot: str) -> Subject:
    """A part of one of the slots (B, T, D) -> (B, T, D)."""
    sizes = {} if SLOTS[slot].mixes_tokens else {"d_model": _width(site, _WIDTH)}
    return _standing(site, slot, slot, _legend(site, **sizes))


def _position(site: Spec) -> Subject:
    return _standing(spec(_Placed, position=site), "", None, _legend(site))


def _router(site: Spec) -> Subject:
    """A router at work, so that what it says of a token is seen in an output."""
    n_experts = _bound(site, "n_experts", 3 * _bound(site, "n_groups", 0) or _EXPERTS)
    routed = spec(MoE, n_experts=n_experts, router=site, experts=spec(Experts, d_ff=_HEAD_DIM, activation=silu))
    return _standing(routed, "", "mlp", _legend(site, d_model=_width(site, _WIDTH)))


def _standing(site: Spec, path: str, slot: str | None, legend: dict[str, Any]) -> Subject:
    """A part between (B, T, D) and (B, T, D), with all that a model hands down."""
    shape = (BATCH, TIME, legend["d_model"])

    def make() -> nn.Module:
        tokens = TokenIds()
        handed = {**legend, "position": NoPosition(), "tokens": tokens}
        part = build_at(site, path, SEED, legend["d_model"], slot=slot, **handed)
        part.register_forward_pre_hook(_Reading(tokens, legend["vocab_size"]))
        return part

    return Subject(make, path, draw=lambda: torch.randn(shape, dtype=torch.float64), out_shape=shape)


@dataclass
class _Reading:
    """Sets token ids that belong to the input (B, T, D): its signs, read as a number."""

    tokens: TokenIds
    vocab_size: int

    def __call__(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        signs = (inputs[0][..., :_SIGNS] > 0).long()  # (B, T, signs)
        places = 2 ** torch.arange(signs.shape[-1])
        self.tokens.ids = (signs * places).sum(-1) % self.vocab_size


def _model(site: Spec) -> Subject:
    legend = _legend(site)
    return Subject(
        make=lambda: build_at(site, "", SEED, slot="model", **legend),
        path="",
        draw=lambda: torch.randint(legend["vocab_size"], (BATCH, TIME)),
        out_shape=(BATCH, TIME, legend["vocab_size"]),
    )


SUBJECTS: dict[str, Callable[[Spec], Subject]] = {
    **{name: partial(_features, slot=name) for name, slot in SLOTS.items() if slot.keeps_shape},
    "router": _router,
    "position": _position,
    "model": _model,
}
"""Slot to what a part is fed there."""


CHECKED_SLOTS = tuple(name for name in SLOTS if name in SUBJECTS)
"""The slots that the suite knows."""


class _Placed(nn.Module):
    """A position in use: tokens with their places, then one attention."""

    def __init__(self, d_model: int, position: Spec):
        super().__init__()
        self.position = build(position, "position", slot="position")
        self.mixer = build(spec(Attention), "mixer", d_model, position=self.position)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(self.position.embed(x))


def _legend(site: Spec, **sizes: int) -> dict[str, Any]:
    """Small sizes for what the spec leaves open, in agreement with what it binds."""
    n_heads = _bound(site, "n_heads", 3 * (_bound(site, "n_kv_heads", 0) or _HEADS // 3))
    d_model = _width(site, n_heads * _HEAD_DIM)
    legend = {
        "d_model": d_model,
        "n_heads": n_heads,
        "head_dim": _bound(site, "head_dim", max(1, d_model // n_heads)),
        "vocab_size": _bound(site, "vocab_size", _VOCAB),
        "seq_len": _bound(site, "seq_len", TIME),
        "n_layers": 1,
        "layer": 0,
        "dropout": 0.0,
        "init_std": 0.02,
        "out_std": None,
    }
    return {**legend, **sizes}


def _width(site: Spec, otherwise: int) -> int:
    """The width that the spec states itself: ``d_model``, or whatever the site would hand its width to."""
    for p in inspect.signature(site.cls).parameters.values():
        is_open = p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        if p.name == "d_model" or (is_open and p.name not in _HANDED):
            return _bound(site, p.name, otherwise)
    return otherwise


_HANDED = ("n_heads", "head_dim", "vocab_size", "seq_len", "n_layers", "layer", "n_experts", "position", "tokens")
"""What a site hands down by name, and no width."""


def _bound(site: Spec, name: str, otherwise: int) -> int:
    value = dict(site.arguments).get(name)
    return value if isinstance(value, int) else otherwise
