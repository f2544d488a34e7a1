"""Whole models as specs. Nothing is built here; edit the result with ``replace``."""

from __future__ import annotations

import math

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
    return spec(
        Transformer,
        d_model=d_model,
        n_heads=n_heads,
        blocks=_stack(
            n_layers, block, norm, mixer, mlp or spec(MLP, d_ff=d_ff or 4 * d_model, activation=gelu_tanh, bias=True)
        ),
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
    return spec(
        Transformer,
        d_model=d_model,
        n_heads=n_heads,
        blocks=_stack(
            n_layers,
            block,
            norm,
            mixer or spec(Attention, n_kv_heads=n_kv_heads),
            mlp or spec(GatedMLP, d_ff=d_ff or gated_width(d_model), activation=silu),
        ),
        position=position,
        final_norm=norm,
        head=None if tied else spec(Linear),
        dropout=dropout,
        init_std=0.02,
    )


def _stack(n_layers: int, block: Spec, norm: Spec, mixer: Spec, mlp: Spec) -> tuple[Spec, ...]:
    """The same block at every layer. The norms go first: a norm inside the mixer stays what it is."""
    return (block.replace("*norm", norm).replace("mixer", mixer).replace("mlp", mlp),) * n_layers
