"""Causal HyperMixer and its linear control: mixers whose token-mixing weights are generated from the tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from paribus.design.specs import Spec, spec
from paribus.errors import SpecError
from paribus.nn.attention import split_width
from paribus.nn.contract import build, here
from paribus.nn.init import Linear, reset_children
from paribus.nn.mlp import gelu
from paribus.nn.norm import RMSNorm
from paribus.nn.position import NoPosition, Position, Sinusoidal
from paribus.nn.precision import at_least_float32, without_autocast

SLOT = "mixer"

State = tuple[Tensor, int]
"""What ``step`` carries: the sums S of all heads and rows, (H B, R, K), and how many tokens they hold."""


def identity(x: Tensor) -> Tensor:
    """x"""
    return x


class HyperMixer(nn.Module):
    """out = W_o norm(concat_h act(S_t / sqrt(n_t))^T r_t),  S_t = decay S_(t-1) + a_t v_t^T

    with a_t = G_write(x_t + p_t), r_t = G_read(x_t + p_t) of width R per head, G two-layer GELU networks, v_t = x_t or
    W_v x_t, and n_t = sum_(j <= t) decay^(2 (t - j)), which is t without decay.

    Source: Mai et al. 2022, arXiv:2203.03691.
    Differs: made causal by prefix sums, so that the hidden state is an outer product per prefix and no longer one
    for the sentence; divided by sqrt(n_t), so that its scale would not grow with t were the terms uncorrelated; they
    are not, and at the start it grows about threefold by t = 512 where tokens repeat as words do; heads as in
    attention; decay.

    What it writes starts larger than what attention writes, as ``out_norm`` stands before W_o: rms about
    out_std sqrt(D), whatever the scale of the state. ``out_std`` is the lever.

    Args:
        d_hidden: R; None is the head width D / H.
        decay: what a step leaves of the sums, above 0 and at most 1.
        activation: a function without weights, applied to every number of the state.
        value: spec of a map D -> D such as ``spec(Linear)``; None takes the tokens themselves.
        tied: one network generates both a and r.
        places: p_t, for the generators alone; only what its class says in ``embed`` counts.
        out_norm: on all heads together.
        generator_std: initial std of the generators' weights; None is 1 / sqrt(fan-in), as no residual stream hears
            them and ``out_norm`` hides their scale.
        out_std: initial std of W_o; None is ``init_std``.
        chunk: tokens whose states are held at a time; it changes the cost and nothing else. The prefix sums are matrix
            products, so that each number of the state is counted as ``chunk`` multiply-adds per token.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_hidden: int | None = None,
        decay: float = 1.0,
        activation: Callable[[Tensor], Tensor] = gelu,
        value: Spec | None = None,
        tied: bool = False,
        places: Spec = spec(Sinusoidal, init_std=None),  # x is normed to rms 1, far above embeddings' init_std
        out_norm: Spec = spec(RMSNorm),
        bias: bool = False,
        generator_std: float | None = None,
        init_std: float = 0.02,
        out_std: float | None = None,
        chunk: int = 16,
    ):
        super().__init__()
        width = split_width(d_model, n_heads)
        d_hidden = width if d_hidden is None else d_hidden
        if d_hidden < 1 or chunk < 1:
            raise SpecError(f"d_hidden and chunk must be at least 1, got {d_hidden} and {chunk}{here()}")
        if not 0 < decay <= 1:
            raise SpecError(f"decay must be above 0 and at most 1, got {decay}{here()}")
        if isinstance(activation, type | Spec | nn.Module):
            raise SpecError(f"activation must be a function such as paribus.nn.gelu, got {activation!r}{here()}")
        self.n_heads, self.decay, self.activation, self.chunk = n_heads, decay, activation, chunk
        self.d_model, self.d_hidden = d_model, d_hidden
        self.places = build(places, "places", d_model, slot="position")
        _require_embedding(self.places)
        self.write = _Generator(n_heads, width, d_hidden, bias, generator_std)
        self.read = None if tied else _Generator(n_heads, width, d_hidden, bias, generator_std)
        self.value = None if value is None else build(value, "value", d_model, d_model)
        self.out_norm = build(out_norm, "out_norm", d_model, slot="norm")
        self.o = Linear(d_model, d_model, bias, init_std if out_std is None else out_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        a, r, v = self._generate(x, self.places.embed(x))  # (N, T, R), (N, T, R), (N, T, K) with N = H B
        with without_autocast(x):
            y = self._mix(a, r, v)  # (N, T, K)
        return self._read_out(y, x)  # (B, T, D)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The outputs of the next tokens ``x``, usually (B, 1, D), and the state after them."""
        seen = 0 if state is None else state[1]
        a, r, v = self._generate(x, self.places.embed(x, start=seen))
        total = a.new_zeros(a.shape[0], a.shape[2], v.shape[2]) if state is None else state[0]  # (N, R, K)
        with without_autocast(x):
            fading = _Fading.over(a, self.decay, a.shape[1])
            y = _read_chunk(a, r, v, total, seen, fading, self.activation)
            total = _carry(a, v, total, fading)
        return self._read_out(y, x), (total, seen + x.shape[1])

    def state_size(self, seq_len: int) -> int:
        """R D + 1, whatever T is: the sums of all heads, and how many tokens they hold."""
        return self.d_hidden * self.d_model + 1

    def _mix(self, a: Tensor, r: Tensor, v: Tensor) -> Tensor:
        return _ChunkedScan.apply(a, r, v, self.decay, self.activation, self.chunk)

    def _generate(self, x: Tensor, placed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        placed = self._by_head(placed)
        a = self.write(placed)
        r = a if self.read is None else self.read(placed)
        v = self._by_head(x if self.value is None else self.value(x))
        exact = at_least_float32(x)  # sums over the whole past
        a, r, v = (z.reshape(-1, x.shape[1], z.shape[-1]).to(exact) for z in (a, r, v))
        return a, r, v

    def _by_head(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0] * x.shape[1], self.n_heads, -1).transpose(0, 1)  # (H, B T, K)

    def _read_out(self, y: Tensor, x: Tensor) -> Tensor:
        y = y.view(self.n_heads, *x.shape[:2], -1).permute(1, 2, 0, 3).reshape(x.shape)  # (B, T, D)
        return self.o(self.out_norm(y.to(x.dtype)))


class LinearAttention(HyperMixer):
    """out = W_o norm(concat_h (S_t / sqrt(n_t))^T r_t),  S_t = decay S_(t-1) + a_t v_t^T

    HyperMixer with the identity for its activation, all else equal: the control that says what the state's
    nonlinearity is worth. a, r, v, n as there.

    Source: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 16-20.
    Differs: the feature maps are HyperMixer's generators, of either sign, so that sqrt(n_t) and a norm stand in place
    of the sum of the weights; decay.

    Args:
        chunk: tokens compared with each other directly; it changes the cost and nothing else.
        d_hidden, decay, value, tied, places, out_norm, generator_std, out_std: as in HyperMixer.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_hidden: int | None = None,
        decay: float = 1.0,
        value: Spec | None = None,
        tied: bool = False,
        places: Spec = spec(Sinusoidal, init_std=None),
        out_norm: Spec = spec(RMSNorm),
        bias: bool = False,
        generator_std: float | None = None,
        init_std: float = 0.02,
        out_std: float | None = None,
        chunk: int = 64,
    ):
        super().__init__(
            d_model=d_model,
            n_heads=n_heads,
            d_hidden=d_hidden,
            decay=decay,
            activation=identity,
            value=value,
            tied=tied,
            places=places,
            out_norm=out_norm,
            bias=bias,
            generator_std=generator_std,
            init_std=init_std,
            out_std=out_std,
            chunk=chunk,
        )

    def _mix(self, a: Tensor, r: Tensor, v: Tensor) -> Tensor:
        t, c = a.shape[1], min(self.chunk, a.shape[1])
        n_chunks = math.ceil(t / c)
        a, r, v = (_split(z, n_chunks, c) for z in (a, r, v))  # (N, M, C, R), (N, M, C, R), (N, M, C, K)
        fading = _Fading.over(a, self.decay, c)
        y = (r @ a.mT * fading.within) @ v

        sums = (a * fading.left).mT @ v  # (N, M, R, K)
        chunk_place = c * torch.arange(n_chunks, dtype=a.dtype, device=a.device)
        earlier = _decays(chunk_place, self.decay).roll(1, 0).tril(-1)  # (M, M)
        before = (earlier @ sums.flatten(2)).view_as(sums)
        y = y + (r * fading.carried[:, None]) @ before
        y = y.flatten(1, 2)[:, :t]
        return y / _mass(torch.arange(1, t + 1, dtype=y.dtype, device=y.device), self.decay).sqrt()[:, None]


class _Generator(nn.Module):
    """a_h = W_(h,down) gelu(W_(h,up) x_h), for every head h: (H, N, K) -> (H, N, R)"""

    def __init__(self, n_heads: int, width: int, d_hidden: int, bias: bool, init_std: float | None):
        super().__init__()
        init_std = width**-0.5 if init_std is None else init_std
        self.up = _HeadLinear(n_heads, width, width, bias, init_std)
        self.down = _HeadLinear(n_heads, width, d_hidden, bias, init_std)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(gelu(self.up(x)))


class _HeadLinear(nn.Module):
    """y_h = x_h W_h^T + b_h,  W ~ N(0, init_std^2),  b = 0"""

    def __init__(self, n_heads: int, d_in: int, d_out: int, bias: bool, init_std: float):
        super().__init__()
        self.init_std = init_std
        self.weight = nn.Parameter(torch.empty(n_heads, d_out, d_in))
        self.bias = nn.Parameter(torch.empty(n_heads, d_out)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.init_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def roles(self) -> dict[str, str]:
        return {"bias": "vector"}

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight.mT  # (H, N, out)
        return y if self.bias is None else y + self.bias[:, None]


class _ChunkedScan(torch.autograd.Function):
    """y_t = act(S_t / sqrt(n_t))^T r_t for all t, holding the states of one chunk at a time, also going back.

    Going back, the sums at the chunks' borders are added up again and the states are recomputed chunk by chunk.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, r: Tensor, v: Tensor, decay: float, activation: Callable[[Tensor], Tensor], chunk: int
    ) -> Tensor:
        ctx.save_for_backward(a, r, v)
        ctx.decay, ctx.activation, ctx.chunk = decay, activation, chunk
        total, ys, fading = _nothing(a, v), [], _Fading.over(a, decay, chunk)
        for start, (a_c, r_c, v_c) in _chunks(chunk, a, r, v):
            ys.append(_read_chunk(a_c, r_c, v_c, total, start, fading, activation))
            total = _carry(a_c, v_c, total, fading)
        return torch.cat(ys, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        a, r, v = ctx.saved_tensors
        with without_autocast(a):
            fading = _Fading.over(a, ctx.decay, ctx.chunk)
            chunks, totals = list(_chunks(ctx.chunk, a, r, v, grad_y.contiguous())), [_nothing(a, v)]
            for _, (a_c, _, v_c, _) in chunks[:-1]:
                totals.append(_carry(a_c, v_c, totals[-1], fading))
            grad_total, grads = torch.zeros_like(totals[0]), []
            for start, (a_c, r_c, v_c, g_c) in reversed(chunks):
                total = totals.pop()
                found, grad_total = _go_back(a_c, r_c, v_c, g_c, total, grad_total, start, fading, ctx.activation)
                grads.append(found)
        return *(torch.cat(pieces[::-1], dim=1) for pieces in zip(*grads, strict=True)), None, None, None


@dataclass(frozen=True)
class _Fading:
    """What decay leaves inside a chunk of C tokens.

    Args:
        within: (C, C), decay^(i - j) of token j at token i, 0 for j > i.
        carried: (C,) of the sums before the chunk, at each token.
        left: (C, 1) of each token, at the end of the chunk.
    """

    decay: float
    within: Tensor
    carried: Tensor
    left: Tensor

    @staticmethod
    def over(a: Tensor, decay: float, chunk: int) -> _Fading:
        place = torch.arange(chunk, dtype=a.dtype, device=a.device)
        powers = _power(decay, place)
        return _Fading(decay, _decays(place, decay), powers * decay, powers.flip(0)[:, None])

    def upto(self, c: int) -> _Fading:
        """The same for a shorter chunk, such as the last one."""
        if c == len(self.carried):
            return self
        return _Fading(self.decay, self.within[:c, :c], self.carried[:c], self.left[-c:])

    def weights(self, start: int) -> tuple[Tensor, Tensor]:
        """What a state over sqrt(n_t) takes from each token, (C, C), and from the sums before, (C,)."""
        c = len(self.carried)
        count = torch.arange(start + 1, start + c + 1, dtype=self.within.dtype, device=self.within.device)
        scale = _mass(count, self.decay).rsqrt()
        return self.within * scale[:, None], self.carried * scale


def _read_chunk(
    a: Tensor, r: Tensor, v: Tensor, total: Tensor, start: int, fading: _Fading, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """y_t of the tokens after the first ``start``, whose sums are ``total``."""
    states = _states(a, v, total, *fading.upto(a.shape[1]).weights(start))
    return (r.unsqueeze(-2) @ activation(states)).squeeze(-2)  # (N, C, K)


def _go_back(
    a: Tensor,
    r: Tensor,
    v: Tensor,
    grad_y: Tensor,
    total: Tensor,
    grad_after: Tensor,
    start: int,
    fading: _Fading,
    activation: Callable[[Tensor], Tensor],
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """The gradients of a, r, v and of the sums before the chunk, from those of y and of the sums after it."""
    fading = fading.upto(a.shape[1])
    within, carried = fading.weights(start)
    states = _states(a, v, total, within, carried).requires_grad_()
    with torch.enable_grad():
        active = activation(states)
    # As rows times matrices, here and below: a CPU is several times slower at matrices times columns.
    grad_r = (grad_y.unsqueeze(-2) @ active.detach().mT).squeeze(-2)
    (grad_states,) = torch.autograd.grad(active, states, r.unsqueeze(-1) * grad_y.unsqueeze(-2))
    grad_added = (within.mT @ grad_states.flatten(2)).view_as(states)
    grad_a = (v.unsqueeze(-2) @ grad_added.mT).squeeze(-2) + fading.left * (v @ grad_after.mT)
    grad_v = (a.unsqueeze(-2) @ grad_added).squeeze(-2) + (a * fading.left) @ grad_after
    grad_total = (carried @ grad_states.flatten(2)).view_as(total) + grad_after * fading.carried[-1]
    return (grad_a, grad_r, grad_v), grad_total


def _states(a: Tensor, v: Tensor, total: Tensor, within: Tensor, carried: Tensor) -> Tensor:
    """S_t / sqrt(n_t) of the tokens of a chunk, (N, C, R, K)."""
    added = a.unsqueeze(-1) * v.unsqueeze(-2)
    # A matrix product for the prefix sums: one pass over the largest tensor, and the FLOP counter sees it.
    states = within @ added.flatten(2)  # (N, C, R K)
    states.baddbmm_(carried[:, None].expand(len(a), -1, 1), total.flatten(1).unsqueeze(1))
    return states.view_as(added)


def _carry(a: Tensor, v: Tensor, total: Tensor, fading: _Fading) -> Tensor:
    """The sums after the tokens of a chunk, (N, R, K)."""
    fading = fading.upto(a.shape[1])
    return total * fading.carried[-1] + (a * fading.left).mT @ v


def _chunks(chunk: int, *tensors: Tensor) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """The places at which the chunks start, with their share of each tensor (N, T, ...)."""
    for start in range(0, tensors[0].shape[1], chunk):
        yield start, tuple(z[:, start : start + chunk] for z in tensors)


def _nothing(a: Tensor, v: Tensor) -> Tensor:
    return a.new_zeros(a.shape[0], a.shape[2], v.shape[2])  # (N, R, K)


def _mass(t: Tensor, decay: float) -> Tensor:
    """n_t = sum_(j <= t) decay^(2 (t - j)), the variance of a sum of t terms of variance 1."""
    if decay == 1:
        return t
    rate = 2 * math.log(decay)
    return torch.expm1(rate * t) / math.expm1(rate)  # expm1: exact where decay is close to 1


def _decays(place: Tensor, decay: float) -> Tensor:
    """decay^(i - j) at (i, j) for j <= i, else 0."""
    return _power(decay, (place[:, None] - place).clamp(min=0)).tril()


def _power(decay: float, exponent: Tensor) -> Tensor:
    return torch.ones_like(exponent) if decay == 1 else torch.exp(math.log(decay) * exponent)


def _split(z: Tensor, n_chunks: int, c: int) -> Tensor:
    """(N, T, K) -> (N, M, C, K), filled up with zeros, which add nothing to a sum."""
    padded = nn.functional.pad(z, (0, 0, 0, n_chunks * c - z.shape[1]))
    return padded.view(z.shape[0], n_chunks, c, z.shape[2])


def _require_embedding(places: Position) -> None:
    if type(places).embed is Position.embed and not isinstance(places, NoPosition):
        raise SpecError(
            f"{type(places).__name__} does nothing in embed(), and a HyperMixer has no queries to rotate or scores to "
            f"bias; use a position that embeds, such as Sinusoidal, or NoPosition{here()}"
        )
