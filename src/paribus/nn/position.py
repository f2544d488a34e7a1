"""Where a token stands: one part per model, owned by it and handed to its mixers.

A position says four things, each of which does nothing unless a class overrides it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.errors import SpecError
from paribus.nn.contract import build, here
from paribus.nn.init import Embedding, reset_children

SLOT = "position"


class Position(nn.Module):
    """What a mixer and a model may ask of a position."""

    softmax_scale: float = 1.0
    """Factor on the mixer's own scale of the scores."""

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        """The token embeddings with their places mixed in, (B, T, D); the first stands at place ``start``."""
        return x

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, T, K) and keys (B, G, T, K), turned by their places."""
        return q, k

    def bias(self, t: int) -> Tensor | None:
        """What is added to the scores of ``t`` tokens, (H, T, S) or broadcastable to it; the mixer masks the future."""
        return None


class NoPosition(Position):
    """embed(x) = x,  rotate(q, k) = q, k,  bias = 0

    Source: Kazemnejad et al. 2023, arXiv:2305.19466 (NoPE).
    """


def half_split(x: Tensor) -> Tensor:
    """Dimension i of R is paired with i + R/2: GPT-NeoX, and Llama in transformers."""
    return x.roll(x.shape[-1] // 2, dims=-1)


def interleaved(x: Tensor) -> Tensor:
    """Dimension 2i is paired with 2i + 1: the paper, GPT-J, the checkpoints of DeepSeek-V3 and of Llama's authors."""
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


class RoPE(Position):
    """rotate: the i-th pair of dimensions turned by the angle t f_i,  f_i = theta^(-2i/R),  R = fraction * K

    Source: Su et al. 2021, arXiv:2104.09864, eq. 15 and 34.
    Differs: dimension i is paired with i + R/2, as in transformers; ``pairing=interleaved`` is the paper's i and i + 1.
    The two are one function up to the order of the rows of the query and key weights.
    Parity: transformers LlamaForCausalLM, and DeepseekV3Attention with rope_interleave.

    Args:
        fraction: share of the head's width that is rotated, from the front.
        scaling: spec of a class of ``paribus.nn.scaling``, such as ``spec(YaRNScaling, factor=4.0, ...)``.
        pairing: ``half_split``, ``interleaved``, or another map of (..., R) that puts each dimension's partner in its
            place.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        head_dim: int,
        seq_len: int,
        theta: float = 10_000.0,
        fraction: float = 1.0,
        scaling: Spec | None = None,
        pairing: Callable[[Tensor], Tensor] = half_split,
    ):
        super().__init__()
        rotated = round(head_dim * fraction)
        if rotated % 2 or not 0 < rotated <= head_dim:
            raise SpecError(f"RoPE rotates pairs: {fraction} of head_dim {head_dim} must be even and positive{here()}")
        self.head_dim, self.rotated, self.pairing = head_dim, rotated, pairing
        frequencies = 1.0 / theta ** (torch.arange(0, rotated, 2, dtype=torch.float32) / rotated)  # (R/2,)
        table_scale = 1.0
        if scaling is not None:
            scale = build(scaling, "scaling")
            frequencies = scale.rescale(frequencies, theta)
            self.softmax_scale, table_scale = scale.softmax_scale, scale.table_scale
        angles = torch.outer(torch.arange(seq_len, dtype=torch.float32), frequencies)  # (T, R/2)
        cos, sin = table_scale * angles.cos(), table_scale * angles.sin()
        # Both of a pair in one table, so that a rotation is one exchange and two products.
        pair, sign = (each.to(cos.device) for each in _pairs(rotated, pairing))
        self.register_buffer("cos", cos[:, pair], persistent=False)  # (T, R)
        self.register_buffer("sin", sin[:, pair] * sign, persistent=False)  # (T, R)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        t = _fitting(q.shape[-2], len(self.cos), "RoPE")
        cos, sin = self.cos[:t], self.sin[:t]
        return self._turn(q, cos, sin), self._turn(k, cos, sin)

    def _turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.rotated < self.head_dim:
            x, rest = x.split((self.rotated, self.head_dim - self.rotated), dim=-1)
            return torch.cat((self._turn_all(x, cos, sin), rest), dim=-1)
        return self._turn_all(x, cos, sin)

    def _turn_all(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        turned = torch.addcmul(x * cos, self.pairing(x), sin)
        return turned.to(x.dtype)  # the tables are float32 under autocast


def _pairs(rotated: int, pairing: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Of every dimension: the number of its pair, and the sign with which its partner comes to it."""
    place = torch.arange(rotated, device="cpu")  # on "meta" there would be nothing to read
    partner = pairing(place)
    if not torch.equal(partner[partner], place) or (partner == place).any():
        name = getattr(pairing, "__name__", pairing)
        raise SpecError(f"{name} does not put dimensions into pairs; use half_split or interleaved{here()}")
    first = place < partner  # (R,)
    count = first.cumsum(0) - 1
    return torch.where(first, count, count[partner]), 1 - 2 * first.long()


class ALiBi(Position):
    """bias_h(t, s) = -m_h (t - s),  m_h = 2^(-8h/H) for h = 1..H

    Source: Press, Smith, Lewis 2021, arXiv:2108.12409, section 3; for H that is no power of two the
    slopes of the next lower power are filled up with every other slope of the next higher, as in its code.
    Differs: Attention casts the bias to the queries' type; bfloat16 merges neighbouring distances beyond 256.
    """

    slopes: Tensor

    def __init__(self, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.register_buffer("slopes", torch.tensor(alibi_slopes(n_heads)), persistent=False)  # (H,)

    def bias(self, t: int) -> Tensor:
        place = torch.arange(t, device=self.slopes.device)
        distance = place[:, None] - place[None, :]  # (T, S)
        return -self.slopes[:, None, None] * distance  # (H, T, S)


def alibi_slopes(n_heads: int) -> list[float]:
    """The slope of every head."""
    lower = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * h / lower) for h in range(1, lower + 1)]
    between = [2 ** (-4 * h / lower) for h in range(1, 2 * lower + 1, 2)]
    return slopes + between[: n_heads - lower]


class Learned(Position):
    """embed(x)_t = x_t + P_t,  P ~ N(0, init_std^2)

    Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1; GPT-2.
    Parity: transformers GPT2LMHeadModel.
    """

    def __init__(self, d_model: int, seq_len: int, init_std: float = 0.02):
        super().__init__()
        self.table = Embedding(seq_len, d_model, init_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        end = _fitting(start + x.shape[1], self.table.num_embeddings, "Learned")
        return x + self.table.weight[start:end]  # (B, T, D)


class Sinusoidal(Position):
    """embed(x)_t = x_t + P_t,  P_(t,2i) = sin(t f_i),  P_(t,2i+1) = cos(t f_i),  f_i = theta^(-2i/D)

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    Differs: P is scaled to the rms ``init_std`` at which token embeddings start, where a model hands it down.

    Args:
        init_std: rms of P; None is the paper's 1/sqrt(2), which fits ``embedding_scale=sqrt(D)``.
    """

    table: Tensor

    def __init__(self, d_model: int, seq_len: int, theta: float = 10_000.0, init_std: float | None = None):
        super().__init__()
        frequencies = 1.0 / theta ** (torch.arange(0, d_model, 2, dtype=torch.float32) / d_model)
        angles = torch.outer(torch.arange(seq_len, dtype=torch.float32), frequencies)  # (T, D/2)
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :d_model]
        if init_std is not None:
            table = table * (init_std * math.sqrt(2))
        self.register_buffer("table", table, persistent=False)  # (T, D)

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        end = _fitting(start + x.shape[1], len(self.table), "Sinusoidal")
        return x + self.table[start:end].to(x.dtype)  # (B, T, D)


def _fitting(t: int, seq_len: int, name: str) -> int:
    if t > seq_len:
        raise SpecError(f"{name} was built for seq_len {seq_len} and got {t} tokens; build it with seq_len={t}")
    return t
