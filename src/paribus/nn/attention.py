"""Causal self-attention as a mixer: (B, T, D) -> (B, T, D), no residual inside."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.errors import SpecError
from paribus.nn.contract import build, here, require_positive
from paribus.nn.init import Linear, reset_children
from paribus.nn.position import NoPosition, Position
from paribus.nn.precision import at_least_float32

SLOT = "mixer"


class Attention(nn.Module):
    """y = W_o concat_h softmax(c q_h k_h^T / sqrt(K) + bias + causal mask) v_h

    Multi-head with G = H, grouped-query with 1 < G < H, multi-query with G = 1 key/value heads.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Shazeer 2019, arXiv:1911.02150 (G = 1);
    Ainslie et al. 2023, arXiv:2305.13245 (G < H); Henry et al. 2020, arXiv:2010.04245 (QK-norm);
    Jiang et al. 2023, arXiv:2310.06825 (Mistral's causal window); Gemma 2, arXiv:2408.00118, section 2 (soft-cap).
    Differs: a QK-norm acts on each head's width before the rotation, as in Qwen3.
    Parity: transformers LlamaForCausalLM, GPT2LMHeadModel and Qwen3ForCausalLM.

    Args:
        n_kv_heads: G; None is H.
        head_dim: K; None is D / H.
        position: a spec for this mixer alone; otherwise the model hands its own position in.
        qk_norm: spec of a norm for queries and for keys.
        window: tokens that a query sees, itself included; None is all before it.
        softcap: scores become softcap * tanh(scores / softcap).
        out_std: initial std of the output projection; None is ``init_std``.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        head_dim: int | None = None,
        position: Spec | Position | None = None,
        qk_norm: Spec | None = None,
        window: int | None = None,
        softcap: float | None = None,
        bias: bool = False,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        self.n_heads = n_heads
        self.n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        self.head_dim = split_width(d_model, n_heads) if head_dim is None else head_dim
        require_positive(n_heads=n_heads, n_kv_heads=self.n_kv_heads, head_dim=self.head_dim)
        if n_heads % self.n_kv_heads:
            raise SpecError(f"n_heads {n_heads} is no multiple of n_kv_heads {n_kv_heads}{here()}")
        if window is not None and window < 1:
            raise SpecError(f"window must be at least 1 token, got {window}{here()}")
        if softcap is not None and softcap <= 0:
            raise SpecError(f"softcap must be positive, got {softcap}{here()}")
        self.window, self.softcap, self.dropout = window, softcap, dropout

        # Separate projections: arms that differ in G still share q and o to the bit.
        self.q = Linear(d_model, n_heads * self.head_dim, bias, init_std)
        self.k = Linear(d_model, self.n_kv_heads * self.head_dim, bias, init_std)
        self.v = Linear(d_model, self.n_kv_heads * self.head_dim, bias, init_std)
        self.o = Linear(n_heads * self.head_dim, d_model, bias, init_std if out_std is None else out_std)
        self.qk_norm = nn.ModuleDict()
        if qk_norm is not None:
            self.qk_norm["q"] = build(qk_norm, "qk_norm.q", self.head_dim, slot="norm")
            self.qk_norm["k"] = build(qk_norm, "qk_norm.k", self.head_dim, slot="norm")
        self._where = settle_position(self, position, n_heads=n_heads, head_dim=self.head_dim)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.n_heads, self.head_dim).transpose(1, 2)  # (B, H, T, K)
        k = self.k(x).view(b, t, self.n_kv_heads, self.head_dim).transpose(1, 2)  # (B, G, T, K)
        v = self.v(x).view(b, t, self.n_kv_heads, self.head_dim).transpose(1, 2)  # (B, G, T, K)
        if self.qk_norm:
            q, k = self.qk_norm["q"](q), self.qk_norm["k"](k)
        q, k = self.where.rotate(q, k)
        y = self._attend(q, k, v)  # (B, H, T, K)
        return self.o(y.transpose(1, 2).reshape(b, t, -1))  # (B, T, D)

    def state_size(self, seq_len: int) -> int:
        """2 G K min(T, window): the keys and values of the tokens that a query still sees."""
        return 2 * self.n_kv_heads * self.head_dim * min(seq_len, self.window or seq_len)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = self._mask(q)
        scale = self.where.softmax_scale / math.sqrt(self.head_dim)
        dropout = self.dropout if self.training else 0.0
        if self.softcap is not None:
            assert mask is not None  # capped scores are never the kernel's
            return _attend_capped(q, k, v, mask, scale, self.softcap, dropout)
        return F.scaled_dot_product_attention(
            q, k, v, mask, dropout, is_causal=mask is None, scale=scale, enable_gqa=self.n_kv_heads < self.n_heads
        )

    def _mask(self, q: Tensor) -> Tensor | None:
        """What is added to the scores; None where the causal kernel suffices."""
        t = q.shape[-2]
        window = t if self.window is None else min(self.window, t)
        bias = self.where.bias(t)
        if bias is None and window == t and self.softcap is None:
            return None
        return causal_mask(q, bias, window)

    @property
    def where(self) -> Position:
        return self._where[0]


def settle_position(mixer: nn.Module, position: Spec | Position | None, **sizes: int) -> tuple[Position]:
    """The position that ``mixer`` asks: its own, built as the child ``position`` from a spec, or the model's.

    It comes in a tuple: the model owns its position, which is not to be registered twice.
    Raises SpecError where the model's was made for other ``sizes``.
    """
    if isinstance(position, Spec):
        mixer.position = own = build(position, "position", slot="position", **sizes)
        return (own,)
    position = position or NoPosition()
    for name, ours in sizes.items():
        theirs = getattr(position, name, None)
        if theirs not in (None, ours):
            raise SpecError(
                f"{name} is {ours} here and {theirs} in the model's {type(position).__name__}; give this mixer a "
                f"position of its own, such as position=spec({type(position).__name__}){here()}"
            )
    return (position,)


def causal_mask(q: Tensor, bias: Tensor | None = None, window: int | None = None) -> Tensor:
    """What is added to the scores of queries (B, H, T, K), (T, S) or (H, T, S): the bias, and -inf where none looks."""
    t = q.shape[-2]
    seen = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()  # (T, S)
    if window is not None and window < t:
        seen = seen.triu(1 - window)
    bias = torch.zeros((), dtype=q.dtype, device=q.device) if bias is None else bias.to(q.dtype)
    return bias.masked_fill(~seen, -math.inf)


def split_width(d_model: int, n_heads: int) -> int:
    """The head width D / H. Raises SpecError where it is not whole."""
    require_positive(n_heads=n_heads)
    if d_model % n_heads:
        raise SpecError(f"d_model {d_model} is no multiple of n_heads {n_heads}; or give head_dim{here()}")
    return d_model // n_heads


def _attend_capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, softcap: float, dropout: float
) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)  # (B, H, S, K)
    scores = softcap * torch.tanh(q @ k.transpose(-1, -2) * (scale / softcap)) + mask  # (B, H, T, S)
    weights = F.dropout(scores.softmax(dim=-1, dtype=at_least_float32(q)), dropout).to(q.dtype)
    return weights @ v  # (B, H, T, K)
