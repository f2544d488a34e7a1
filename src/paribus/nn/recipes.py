"""Whole models as specs. Nothing is built here; edit the result with ``replace`` or ``tile``.

Where a recipe takes ``block``, ``mixer`` or ``mlp``, a tuple of specs is tiled over depth: layer i has entry
i mod the tuple's length, and the last period may be cut short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from paribus.design.specs import Spec, spec
from paribus.design.trees import describe
from paribus.errors import SpecError
from paribus.nn.attention import Attention, split_width
from paribus.nn.block import PostNorm, PreNorm
from paribus.nn.experts import GatedExperts
from paribus.nn.init import Linear
from paribus.nn.latent_attention import LatentAttention
from paribus.nn.mlp import MLP, GatedMLP, gated_width, gelu_tanh, silu
from paribus.nn.moe import MoE
from paribus.nn.norm import LayerNorm, NoNorm, RMSNorm
from paribus.nn.position import Learned, RoPE, interleaved
from paribus.nn.recurrence import HRM, LoopedTransformer, one_step
from paribus.nn.router import TopK, sigmoid
from paribus.nn.router_losses import LoadBalance, SequenceBalance
from paribus.nn.transformer import Transformer

Tiled = Spec | tuple[Spec, ...]
"""The same part at every layer, or several that take turns over depth."""


def gpt2(
    d_model: int,
    n_layers: int,
    n_heads: int,
    *,
    d_ff: int | None = None,
    norm: Spec = spec(LayerNorm),
    mixer: Tiled = spec(Attention, bias=True),
    mlp: Tiled | None = None,
    position: Spec = spec(Learned),
    block: Tiled = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """GPT-2: LayerNorm, learned positions, GELU MLPs of 4 D, biases, tied head.

    Source: Radford et al. 2019; N(0, 0.02) with the residual projections divided by sqrt(2 L).
    Differs: no dropout by default.
    Parity: transformers GPT2LMHeadModel.
    """
    _require_counts(d_model=d_model, n_layers=n_layers, n_heads=n_heads, d_ff=d_ff)
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
    mixer: Tiled | None = None,
    mlp: Tiled | None = None,
    position: Spec = spec(RoPE),
    block: Tiled = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """Llama: RMSNorm, RoPE, SwiGLU MLPs of 8/3 D to the nearest multiple of 8, no biases, N(0, 0.02).

    Source: Touvron et al. 2023, arXiv:2302.13971, section 2.2; n_kv_heads as in arXiv:2307.09288.
    Differs: the head is tied unless ``tied=False``; the original rounds d_ff up to a multiple of 256.
    Parity: transformers LlamaForCausalLM.
    """
    _require_counts(d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, d_ff=d_ff)
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


def mixtral(
    d_model: int,
    n_layers: int,
    n_heads: int,
    *,
    n_kv_heads: int | None = None,
    n_experts: int = 8,
    top_k: int = 2,
    d_ff: int | None = None,
    losses: tuple[Spec, ...] = (spec(LoadBalance, weight=0.01),),
    norm: Spec = spec(RMSNorm),
    position: Spec = spec(RoPE),
    block: Tiled = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """Mixtral: Llama with a mixture of SwiGLU experts in every layer, softmax over the chosen ones.

    Source: Jiang et al. 2024, arXiv:2401.04088, section 2.
    Differs: d_ff and the head as in ``llama``; theta 10000, not 10^6; the paper names no balance loss.
    Parity: transformers MixtralForCausalLM.
    """
    _require_counts(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        n_experts=n_experts,
        top_k=top_k,
    )
    mlp = spec(
        MoE,
        n_experts=n_experts,
        router=spec(TopK, top_k=top_k),
        experts=spec(GatedExperts, d_ff=gated_width(d_model) if d_ff is None else d_ff, activation=silu),
        losses=losses,
    )
    return llama(
        d_model,
        n_layers,
        n_heads,
        n_kv_heads=n_kv_heads,
        norm=norm,
        mlp=mlp,
        position=position,
        block=block,
        tied=tied,
        dropout=dropout,
    )


def deepseek_v3(
    d_model: int,
    n_layers: int,
    n_heads: int,
    *,
    kv_rank: int | None = None,
    q_rank: int | None = None,
    rope_dim: int | None = None,
    nope_dim: int | None = None,
    value_dim: int | None = None,
    n_dense_layers: int = 1,
    d_ff: int | None = None,
    n_experts: int = 8,
    top_k: int = 2,
    expert_d_ff: int | None = None,
    n_shared: int = 1,
    n_groups: int = 1,
    top_groups: int = 1,
    scale: float = 2.5,
    bias_rate: float = 0.001,
    losses: tuple[Spec, ...] = (spec(SequenceBalance, weight=1e-4),),
    norm: Spec = spec(RMSNorm),
    block: Tiled = spec(PreNorm),
    tied: bool = True,
    dropout: float = 0.0,
) -> Spec:
    """DeepSeek-V3: latent attention; SwiGLU experts with sigmoid scores, a balancing bias and a shared expert.

    The first ``n_dense_layers`` have an MLP of ``d_ff`` instead; None is as in ``llama``. ``expert_d_ff`` None
    divides d_ff by the experts a token visits, as in the paper; the shared one has ``n_shared`` times that. A size of
    the attention that is None follows from D / H, as in ``LatentAttention``.
    Source: DeepSeek-AI 2024, arXiv:2412.19437, sections 2.1 and 4.2.
    Differs: no multi-token prediction; N(0, 0.02), not 0.006; the head is tied unless ``tied=False``.
    Parity: transformers DeepseekV3ForCausalLM.
    """
    counts = {"n_experts": n_experts, "top_k": top_k, "n_shared": n_shared, "expert_d_ff": expert_d_ff}
    _require_counts(d_model=d_model, n_layers=n_layers, n_heads=n_heads, d_ff=d_ff, rope_dim=rope_dim, **counts)
    if not 0 <= n_dense_layers <= n_layers:
        raise SpecError(f"n_dense_layers must be from 0 to n_layers {n_layers}, got {n_dense_layers}")
    d_ff = gated_width(d_model) if d_ff is None else d_ff
    expert_d_ff = max(1, d_ff // (top_k + n_shared)) if expert_d_ff is None else expert_d_ff
    rope_dim = split_width(d_model, n_heads) // 4 * 2 if rope_dim is None else rope_dim
    mixer = spec(
        LatentAttention,
        kv_rank=kv_rank,
        q_rank=q_rank,
        rope_dim=rope_dim,
        nope_dim=nope_dim,
        value_dim=value_dim,
    )
    router = spec(
        TopK,
        top_k=top_k,
        score=sigmoid,
        scale=scale,
        n_groups=n_groups,
        top_groups=top_groups,
        bias_rate=bias_rate,
    )
    routed = spec(
        MoE,
        n_experts=n_experts,
        router=router,
        experts=spec(GatedExperts, d_ff=expert_d_ff, activation=silu),
        shared=spec(GatedMLP, d_ff=n_shared * expert_d_ff, activation=silu),
        losses=losses,
    )
    dense = spec(GatedMLP, d_ff=d_ff, activation=silu)
    mlps = (dense,) * n_dense_layers + (routed,) * (n_layers - n_dense_layers)
    return spec(
        Transformer,
        d_model=d_model,
        n_heads=n_heads,
        blocks=_stack(n_layers, block, norm, mixer, mlps),
        position=spec(RoPE, head_dim=rope_dim, pairing=interleaved),
        final_norm=norm,
        head=None if tied else spec(Linear),
        dropout=dropout,
        init_std=0.02,
    )


def tile(model: Spec, pattern: str, values: Sequence[Any]) -> Spec:
    """``model`` with ``values`` in turn at the paths that match ``pattern``, in the order of the model.

    ``tile(model, "blocks.*.mixer", (local, full))`` alternates two mixers: layer i gets entry i mod 2. The pattern is
    that of ``Spec.replace``. Raises SpecError when nothing matches, and for no values or more than there are places.
    """
    matched = [path for path in model.paths() if fnmatchcase(path, pattern)]
    outer = [path for path in matched if not any(path.startswith(f"{other}.") for other in matched)]
    if not outer:
        model.replace(pattern, values[0] if values else None)  # says what is nearest
    for path, value in zip(outer, _turns(pattern, values, len(outer)), strict=True):
        model = model.replace(path, value)
    return model


def _stack(n_layers: int, block: Tiled, norm: Spec, mixer: Tiled, mlp: Tiled) -> tuple[Spec, ...]:
    """A block for every layer, each with its turn of what is tiled."""
    turns = {
        name: _turns(name, part if isinstance(part, list | tuple) else (part,), n_layers)
        for name, part in {"block": block, "mixer": mixer, "mlp": mlp}.items()
    }
    for name, parts in turns.items():
        if odd := [part for part in parts if not isinstance(part, Spec)]:
            raise SpecError(f"{name} is a spec, or a tuple of specs that take turns over depth; got {odd[0]!r}")
    return tuple(_fill(block, norm, mixer, mlp) for block, mixer, mlp in zip(*turns.values(), strict=True))


def _turns(name: str, parts: Sequence[Any], n_places: int) -> tuple[Any, ...]:
    if not 0 < len(parts) <= n_places:
        raise SpecError(f"{name} has {len(parts)} entries that take turns over {n_places} places; give 1 to {n_places}")
    return tuple(parts[place % len(parts)] for place in range(n_places))


def _fill(block: Spec, norm: Spec, mixer: Spec, mlp: Spec) -> Spec:
    """``block`` with its parts. The norms go first: a norm inside the mixer stays what it is."""
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
    return block


def _require_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise SpecError(f"{name} must be a whole number, got {count!r}")
        if count is not None and count < 1:
            raise SpecError(f"{name} must be at least 1, got {count}")


def _twice(name: str, value: int, part: str, given: Tiled) -> SpecError:
    written = f"spec({given.cls.__name__}, ...)" if isinstance(given, Spec) else describe(given)
    return SpecError(
        f"{name}={value} is for the recipe's own {part}, and {part} is given; drop {name}, or write it into "
        f"{part}={written}"
    )


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
