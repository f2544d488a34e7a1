"""Whole models as specs. Nothing is built here; edit the result with ``replace``."""

from __future__ import annotations

import math

from paribus.errors import SpecError
from paribus.nn.attention import Attention
from paribus.nn.block import PreNorm
from paribus.nn.init import Linear
from paribus.nn.mlp import MLP, GatedMLP, gated_width, gelu_tanh, silu
from paribus.nn.norm import LayerNorm, RMSNorm
from paribus.nn.position import Learned, RoPE
from paribus.nn.transformer import Transformer
from paribus.specs import Spec, spec


def gpt2(
    d_model: int,
    n_layers: int,
    n_heads: int,
    *,
    d_ff: int | None = None,
    norm: Spec = spec(LayerNorm),
    mixer: Spec = spec(Attention, bias=True),
    mlp: Spec | None = None,
    position: Spec = spec(Learned),
    block: Spec = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """GPT-2: LayerNorm, learned positions, GELU MLPs of 4 D, biases, tied head.

    Source: Radford et al. 2019; N(0, 0.02) with the residual projections divided by sqrt(2 L).
    Differs: no dropout by default.
    """
    _require_counts(n_layers=n_layers, d_ff=d_ff)
    if mlp is None:
        mlp = spec(MLP, d_ff=4 * d_model if d_ff is None else d_ff, activation=gelu_tanh, bias=True)
    elif d_ff is not None:
        raise _twice("d_ff", d_ff, "mlp", mlp)
    return spec(
        Transformer,
        d_model=d_model,
        n_heads=n_heads,
        blocks=_stack(n_layers, block, norm, mixer, mlp),
        position=position,
        final_norm=norm,
        head=None if tied else spec(Linear),
        dropout=dropout,
        init_std=0.02,
        out_std=0.02 / math.sqrt(2 * n_layers),
    )


def llama(
    d_model: int,
    n_layers: int,
    n_heads: int,
    *,
    n_kv_heads: int | None = None,
    d_ff: int | None = None,
    norm: Spec = spec(RMSNorm),
    mixer: Spec | None = None,
    mlp: Spec | None = None,
    position: Spec = spec(RoPE),
    block: Spec = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """Llama: RMSNorm, RoPE, SwiGLU MLPs of 8/3 D to the nearest multiple of 8, no biases, N(0, 0.02).

    Source: Touvron et al. 2023, arXiv:2302.13971, section 2.2; n_kv_heads as in arXiv:2307.09288.
    Differs: the head is tied unless ``tied=False``; the original rounds d_ff up to a multiple of 256.
    """
    _require_counts(n_layers=n_layers, n_kv_heads=n_kv_heads, d_ff=d_ff)
    if mixer is None:
        mixer = spec(Attention, n_kv_heads=n_kv_heads)
    elif n_kv_heads is not None:
        raise _twice("n_kv_heads", n_kv_heads, "mixer", mixer)
    if mlp is None:
        mlp = spec(GatedMLP, d_ff=gated_width(d_model) if d_ff is None else d_ff, activation=silu)
    elif d_ff is not None:
        raise _twice("d_ff", d_ff, "mlp", mlp)
    return spec(
        Transformer,
        d_model=d_model,
        n_heads=n_heads,
        blocks=_stack(n_layers, block, norm, mixer, mlp),
        position=position,
        final_norm=norm,
        head=None if tied else spec(Linear),
        dropout=dropout,
        init_std=0.02,
    )


def _stack(n_layers: int, block: Spec, norm: Spec, mixer: Spec, mlp: Spec) -> tuple[Spec, ...]:
    """The same block at every layer. The norms go first: a norm inside the mixer stays what it is."""
    lacking = []
    for site, part in {"*norm": norm, "mixer": mixer, "mlp": mlp}.items():
        try:
            block = block.replace(site, part)
        except SpecError:
            lacking.append(site)
    if lacking:
        name = block.cls.__name__
        raise SpecError(
            f"{name} has no spec as default of {', '.join(lacking)}, which the recipe fills; give it one, or leave out "
            f"block= and put the finished block in: .replace('blocks.*', spec({name}, ...))"
        )
    return (block,) * n_layers


def _require_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise SpecError(f"{name} must be at least 1, got {count}")


def _twice(name: str, value: int, part: str, given: Spec) -> SpecError:
    return SpecError(
        f"{name}={value} is for the recipe's own {part}, and {part} is given; drop {name}, or write it into "
        f"{part}=spec({given.cls.__name__}, ...)"
    )
