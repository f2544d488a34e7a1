"""Latent attention as a mixer: keys and values are read from a few numbers per token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.errors import SpecError
from paribus.nn.attention import causal_mask, settle_position, split_width
from paribus.nn.contract import build, here, require_positive
from paribus.nn.init import Linear, reset_children
from paribus.nn.norm import RMSNorm
from paribus.nn.position import Position

SLOT = "mixer"


class LatentAttention(nn.Module):
    """y = W_o concat_h softmax(c (q_h k_h^T + rotate(r_h) rotate(s)^T) / sqrt(n + r) + bias + causal mask) v_h

    [l; s] = W_kva x,  [k_h; v_h] = W_kvb norm(l),  [q_h; r_h] = W_qb norm(W_qa x)

    with n = ``nope_dim`` unrotated and r = ``rope_dim`` rotated dimensions per head; s is one key for all heads.
    Multi-head latent attention (MLA), in the form for training, where keys and values are written out.
    Source: DeepSeek-AI 2024, DeepSeek-V2, arXiv:2405.04434, section 2.1, eq. 9-19; DeepSeek-V3, arXiv:2412.19437.
    Differs: ``bias`` is on q_a, kv_a and o alone and q has none, as in DeepSeek-V3's code.
    Parity: transformers DeepseekV3Attention.

    Weights of a published DeepSeek-V3 checkpoint fit as they lie with ``position=spec(RoPE, pairing=interleaved)``:
    q_a_proj, q_b_proj (or q_proj), kv_a_proj_with_mqa, kv_b_proj and o_proj are q_a, q_b (or q), kv_a, kv_b and o here,
    q_a_layernorm and kv_a_layernorm are q_norm and kv_norm. The half-split pairing is for weights whose rotated rows
    were put in that order.

    Args:
        kv_rank: width of the latent l; None is the paper's 4 K, and at most D / 2.
        rope_dim: None is the paper's K / 2, rounded down to an even number.
        nope_dim: None is K; 0 leaves the one rotated key to all heads.
        value_dim: width of a head's values; None is K.
        q_rank: width of the queries' latent; None projects them in one step, without a norm.
        head_dim: K, from which the sizes left at None follow; None is D / H.
        norm: of both latents, at the sites ``q_norm`` and ``kv_norm``.
        position: a spec for this mixer alone, built for heads of ``rope_dim``; otherwise the model hands its own in.
        out_std: initial std of the output projection; None is ``init_std``.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        kv_rank: int | None = None,
        rope_dim: int | None = None,
        nope_dim: int | None = None,
        value_dim: int | None = None,
        q_rank: int | None = None,
        head_dim: int | None = None,
        norm: Spec = spec(RMSNorm, eps=1e-6),
        bias: bool = False,
        position: Spec | Position | None = None,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        if kv_rank is None or rope_dim is None or nope_dim is None or value_dim is None:
            head_dim = split_width(d_model, n_heads) if head_dim is None else head_dim
            require_positive(head_dim=head_dim)
            kv_rank = max(1, min(4 * head_dim, d_model // 2)) if kv_rank is None else kv_rank
            rope_dim = head_dim // 4 * 2 if rope_dim is None else rope_dim
            nope_dim = head_dim if nope_dim is None else nope_dim
            value_dim = head_dim if value_dim is None else value_dim
        _require_sizes(kv_rank, rope_dim, nope_dim, value_dim, q_rank)
        self.n_heads, self.dropout = n_heads, dropout
        self.kv_rank, self.q_rank = kv_rank, q_rank
        self.rope_dim, self.nope_dim, self.value_dim = rope_dim, nope_dim, value_dim

        query_width = n_heads * (nope_dim + rope_dim)
        if q_rank is None:
            self.q = Linear(d_model, query_width, False, init_std)
        else:
            self.q_a = Linear(d_model, q_rank, bias, init_std)
            self.q_norm = build(norm, "q_norm", q_rank, slot="norm")
            self.q_b = Linear(q_rank, query_width, False, init_std)
        self.kv_a = Linear(d_model, kv_rank + rope_dim, bias, init_std)
        self.kv_norm = build(norm, "kv_norm", kv_rank, slot="norm")
        self.kv_b = Linear(kv_rank, n_heads * (nope_dim + value_dim), False, init_std)
        self.o = Linear(n_heads * value_dim, d_model, bias, init_std if out_std is None else out_std)
        self._where = settle_position(self, position, n_heads=n_heads, head_dim=rope_dim)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x) if self.q_rank is None else self.q_b(self.q_norm(self.q_a(x)))
        q = q.view(b, t, self.n_heads, self.nope_dim + self.rope_dim).transpose(1, 2)  # (B, H, T, n + r)
        latent, shared = self.kv_a(x).split((self.kv_rank, self.rope_dim), dim=-1)  # (B, T, R), (B, T, r)
        kv = self.kv_b(self.kv_norm(latent)).view(b, t, self.n_heads, self.nope_dim + self.value_dim)
        k, v = kv.transpose(1, 2).split((self.nope_dim, self.value_dim), dim=-1)  # (B, H, T, n), (B, H, T, v)

        q, turned = q.split((self.nope_dim, self.rope_dim), dim=-1)
        turned, shared = self.where.rotate(turned, shared[:, None])  # (B, H, T, r), (B, 1, T, r)
        q = torch.cat((q, turned), dim=-1)
        k = torch.cat((k, shared.expand(-1, self.n_heads, -1, -1)), dim=-1)
        y = self._attend(q, k, v)  # (B, H, T, v)
        return self.o(y.transpose(1, 2).reshape(b, t, -1))  # (B, T, D)

    def state_size(self, seq_len: int) -> int:
        """(R + r) T: the latent, from which keys and values are read again, and the rotated key of each token."""
        return (self.kv_rank + self.rope_dim) * seq_len

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bias = self.where.bias(q.shape[-2])
        mask = None if bias is None else causal_mask(q, bias)
        scale = self.where.softmax_scale / math.sqrt(self.nope_dim + self.rope_dim)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, scale=scale)

    @property
    def where(self) -> Position:
        return self._where[0]


def _require_sizes(kv_rank: int, rope_dim: int, nope_dim: int, value_dim: int, q_rank: int | None) -> None:
    sizes = {"kv_rank": (kv_rank, 1), "value_dim": (value_dim, 1), "rope_dim": (rope_dim, 0), "nope_dim": (nope_dim, 0)}
    if q_rank is not None:
        sizes["q_rank"] = (q_rank, 1)
    for name, (size, least) in sizes.items():
        if size < least:
            raise SpecError(f"{name} must be at least {least}, got {size}{here()}")
    if rope_dim + nope_dim == 0:
        raise SpecError(
            f"rope_dim and nope_dim are both 0, so queries and keys have no width; give one of them{here()}"
        )
