"""Recurrent models as specs, of the parts of a Llama. Nothing is built here; edit the result with ``replace``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paribus.errors import SpecError
from paribus.nn.block import PostNorm, PreNorm
from paribus.nn.norm import NoNorm, RMSNorm
from paribus.nn.position import RoPE
from paribus.nn.recipes import Tiled, llama
from paribus.nn.recurrence import HRM, LoopedTransformer, one_step
from paribus.specs import Spec, spec


def hrm(
    d_model: int,
    n_low: int,
    n_high: int,
    n_heads: int,
    *,
    n_cycles: int = 2,
    n_steps: int = 2,
    n_segments: int = 1,
    gradient: Callable[[int, int], int] = one_step,
    n_kv_heads: int | None = None,
    d_ff: int | None = None,
    norm: Spec = spec(RMSNorm),
    final_norm: Spec = spec(NoNorm),
    mixer: Tiled | None = None,
    mlp: Tiled | None = None,
    position: Spec = spec(RoPE),
    block: Tiled = spec(PostNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """HRM of ``n_low`` + ``n_high`` Llama layers with norms after the sums, which has no norm at its end.

    Source: Wang et al. 2025, arXiv:2506.21734.
    Differs: as in :class:`~paribus.nn.HRM`; norms have gains, d_ff is 8/3 D to the nearest multiple of 8, N(0, 0.02).

    Args:
        final_norm: give one with a block that does not end in a norm, such as PreNorm.
        block, mixer, mlp: a tuple is tiled over all ``n_low + n_high`` layers, the low ones first.
    """
    for name, count in {"n_low": n_low, "n_high": n_high}.items():
        if count < 1:
            raise SpecError(f"{name} must be at least 1, got {count}")
    stack = llama(
        d_model,
        n_low + n_high,
        n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        norm=norm,
        mixer=mixer,
        mlp=mlp,
        position=position,
        block=block,
        tied=tied,
        dropout=dropout,
    )
    arguments = dict(stack.arguments)
    blocks = arguments.pop("blocks")
    arguments.update(n_cycles=n_cycles, n_steps=n_steps, n_segments=n_segments, gradient=gradient)
    arguments["final_norm"] = final_norm
    return spec(HRM, low=blocks[:n_low], high=blocks[n_low:], **arguments)


def looped(
    d_model: int,
    n_layers: int,
    n_loops: int,
    n_heads: int,
    *,
    inject: Callable[[Tensor, Tensor], Tensor] | None = None,
    n_kv_heads: int | None = None,
    d_ff: int | None = None,
    norm: Spec = spec(RMSNorm),
    mixer: Tiled | None = None,
    mlp: Tiled | None = None,
    position: Spec = spec(RoPE),
    block: Tiled = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """The Llama of ``n_layers`` layers, applied ``n_loops`` times between embedding and final norm.

    Source: Dehghani et al. 2018, arXiv:1807.03819; Giannou et al. 2023, arXiv:2301.13196.
    Differs: as in :class:`~paribus.nn.LoopedTransformer`; the layers are Llama's.
    """
    if n_loops < 1:
        raise SpecError(f"n_loops must be at least 1, got {n_loops}")
    stack = llama(
        d_model,
        n_layers,
        n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        norm=norm,
        mixer=mixer,
        mlp=mlp,
        position=position,
        block=block,
        tied=tied,
        dropout=dropout,
    )
    return spec(LoopedTransformer, n_loops=n_loops, inject=inject, **dict(stack.arguments))
