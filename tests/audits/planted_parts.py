"""Parts as users write them: some with a flaw, some that only look as if they had one."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from paribus.design.specs import Spec
from paribus.nn import RMSNorm
from paribus.nn.contract import build
from paribus.nn.position import Position

# Flawed.


class UnmaskedAttention(nn.Module):
    """``nn.MultiheadAttention(x, x, x)``, as in two of the five studies."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, n_heads, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class AddedMaskAttention(nn.Module):
    """A boolean causal mask that is added to the scores: true is one, and nothing is masked."""

    def __init__(self, d_model: int):
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return ((q @ k.mT / q.shape[-1] ** 0.5) + allowed).softmax(-1) @ v


class SilentUnmaskedAttention(UnmaskedAttention):
    """As above, and its output projection starts at zero, so that an untrained model shows nothing."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__(d_model, n_heads)
        self.out = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        return self.out(super().forward(x))


class MaskedInTrainingAlone(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        y = self.mix(x)
        return y.cumsum(1) if self.training else y.sum(1, keepdim=True).expand_as(y)


class TimeNorm(nn.Module):
    """Normalizes over time as well as width."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * x / x.square().mean((-2, -1), keepdim=True).add(1e-6).sqrt()


class BatchStatistics(nn.Module):
    """Normalizes each place over the rows of the batch, in training."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * (x - x.mean(0, keepdim=True)) if self.training else self.weight * x


class HalfDeadMLP(nn.Module):
    """An MLP with a second one that nothing calls."""

    def __init__(self, d_model: int):
        super().__init__()
        self.used = nn.Linear(d_model, d_model)
        self.forgotten = nn.Linear(d_model, 4 * d_model)

    def forward(self, x):
        return F.relu(self.used(x))


class FrozenMLP(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.random = nn.Linear(d_model, d_model)
        self.random.requires_grad_(False)

    def forward(self, x):
        return self.random(x)


class RestlessNorm(RMSNorm):
    """Noise from a generator that no seed of ours reaches."""

    def forward(self, x):
        return super().forward(x) * (1 + 0.1 * np.random.default_rng().random())


class Headless(nn.Module):
    """A model that forgets its head."""

    def __init__(self, vocab_size: int, d_model: int = 8):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)

    def forward(self, tokens):
        return self.embedding(tokens)


class Broken(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.mix(x) @ x


# Clean.


class RootMeanSquare(nn.Module):
    """RMSNorm written anew, its gain under another name, in float32."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = x.float()
        return self.gain * (y * (y.square().mean(-1, keepdim=True) + self.eps).rsqrt()).type_as(x)


class LinearAttention(nn.Module):
    """Running sums of keys times values, one token after the other."""

    def __init__(self, d_model: int):
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        memory = torch.einsum("btk,btv->btkv", k, v).cumsum(1)
        return torch.einsum("btk,btkv->btv", q, memory) / (q * k.cumsum(1)).sum(-1, keepdim=True)


class FourierConvolution(nn.Module):
    """A causal convolution as long as the window, by FFT in float32."""

    def __init__(self, d_model: int, seq_len: int):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(seq_len, d_model) / seq_len)

    def forward(self, x):
        n = 2 * x.shape[1]
        product = torch.fft.rfft(x.float(), n, dim=1) * torch.fft.rfft(self.filter[: x.shape[1]].float(), n, dim=0)
        return torch.fft.irfft(product, n, dim=1)[:, : x.shape[1]].type_as(x)


class FixedMixing(nn.Module):
    """Weights for every pair of places: works for windows of its own length alone."""

    def __init__(self, seq_len: int):
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(seq_len, seq_len) / seq_len)

    def forward(self, x):
        return self.mixing.tril() @ x


class ZeroStartMLP(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, 4 * d_model, bias=False), nn.Linear(4 * d_model, d_model, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x):
        return self.down(F.relu(self.up(x)))


class Wrapped(nn.Module):
    """A composite of the user's: the sites below it are built with the contract."""

    def __init__(self, d_model: int, inner: Spec):
        super().__init__()
        self.inner = build(inner, "inner", d_model, slot="mixer")

    def forward(self, x):
        return self.inner(x)


class HeadNorm(nn.Module):
    """For the queries and keys of attention, (B, H, T, K): normalizes over the heads. Elsewhere that axis is time."""

    def forward(self, x):
        return x * x.square().mean(1, keepdim=True).add(1e-6).rsqrt()


class ManyExperts(nn.Module):
    """More experts than the suite has tokens; a whole batch reaches some of the gradients only."""

    def __init__(self, d_model: int, n_experts: int = 60):
        super().__init__()
        self.experts = nn.ParameterList(torch.randn(d_model) for _ in range(n_experts))

    def forward(self, x):
        chosen = (x[..., :1] * 1e3).long().abs() % len(self.experts)
        return sum(x * expert * (chosen == i) for i, expert in enumerate(self.experts))


class ScratchSpace(nn.Module):
    """Buffers that hold nothing: one not a number, one different in each object, neither read."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("unset", torch.full((dim,), torch.nan))
        self.register_buffer("cache", torch.full((dim,), float(np.random.default_rng().random())), persistent=False)

    def forward(self, x):
        return x


class CoarseMLP(nn.Module):
    """Rounds to bfloat16 inside, whatever it is given."""

    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.mix(x).bfloat16().sigmoid().type_as(x)


class Handed(nn.Module):
    """Takes everything that the model hands down."""

    def __init__(self, d_model: int, position, dropout: float, init_std: float, out_std, layer: int, n_layers: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.mix(x)


# Flawed in their contract.


class UnseededStart(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), float(np.random.default_rng().random())))

    def forward(self, x):
        return self.weight * x


class UnseededProjection(nn.Module):
    """A fixed random projection in a buffer, drawn from a generator that no seed of ours reaches."""

    def __init__(self, d_model: int):
        super().__init__()
        self.register_buffer("mix", torch.from_numpy(np.random.default_rng().normal(size=(d_model, d_model))).float())

    def forward(self, x):
        return x @ self.mix


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


class WrongBackward(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return _Halved.apply(self.mix(x))


class ShrinkingReset(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def reset_parameters(self):
        with torch.no_grad():
            self.weight.mul_(0.5)

    def forward(self, x):
        return self.weight * x


class PeeksInShortWindows(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        y = self.mix(x)
        return y if x.shape[1] > 20 else y + y.mean(1, keepdim=True)


class Shrink(nn.Module):
    """Loses one of its columns."""

    def forward(self, x):
        return x[..., 1:]


class Pooled(nn.Module):
    """One number for each token, which the residual stream broadcasts."""

    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, 1)

    def forward(self, x):
        return self.mix(x)


class BrokenPosition(Position):
    def rotate(self, q, k):
        raise ValueError("no such rotation")


class NoOptimizer:
    def __init__(self, params):
        self.param_groups = list(params)


class NoSchedule:
    def __call__(self, step):
        return 1.0


class EndlessSchedule:
    def __call__(self, step, steps):
        return float("inf")
