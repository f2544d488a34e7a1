"""A stored tensor splits into the matrices that the forward pass makes of it, however a class spells it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

import paribus as pb
from paribus.errors import SpecError
from paribus.nn.contract import build_model
from paribus.nn.matrices import find_blocks

D, H, F_WIDTH, VOCABULARY, T = 24, 3, 40, 64, 16
BASE = pb.nn.llama(d_model=D, n_layers=1, n_heads=H)


def rotate_halves(x):
    """RoPE as in GPT-NeoX: the two halves of a head are mixed, and q stays one matrix."""
    cos, sin = rotation(x)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def rotate_by_half(x):
    """The same as transformers writes it."""
    cos, sin = (torch.cat([part, part], -1) for part in rotation(x))
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def rotate_pairs(x):
    """RoPE of neighbours, by complex numbers."""
    cos, sin = rotation(x)
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.complex(cos, sin)
    return torch.view_as_real(turned).flatten(-2)


def rotation(x):
    t, k = x.shape[-2:]
    angles = torch.outer(torch.arange(t).float(), 100.0 ** (-torch.arange(0, k, 2) / k))
    return angles.cos(), angles.sin()


def by_kernel(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=k.shape[1] < q.shape[1])


def by_hand(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(torch.ones_like(scores[0, 0]).triu(1).bool(), -torch.inf).softmax(-1) @ v


class Mixer(nn.Module):
    """Attention around what a subclass makes of q, k and v."""

    rotate, attend = staticmethod(rotate_halves), staticmethod(by_kernel)

    def __init__(self, d_model):
        super().__init__()
        self.make(d_model)
        self.o = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        q, k, v = self.read(x)  # (B, H, T, K)
        y = self.attend(self.rotate(q), self.rotate(k), v)
        return self.o(y.transpose(1, 2).flatten(2))


def heads(x):
    return x.unflatten(-1, (-1, D // H)).transpose(1, 2)


class Separate(Mixer):
    def make(self, d):
        self.q, self.k, self.v = (nn.Linear(d, d, bias=False) for _ in range(3))

    def read(self, x):
        return heads(self.q(x)), heads(self.k(x)), heads(self.v(x))


class SeparateByHand(Separate):
    attend = staticmethod(by_hand)


class NanoGPT(Mixer):
    def make(self, d):
        self.w = nn.Linear(d, 3 * d)

    def read(self, x):
        return map(heads, self.w(x).split(D, dim=2))


class Timm(NanoGPT):
    rotate = staticmethod(rotate_by_half)

    def read(self, x):
        return self.w(x).unflatten(-1, (3, H, -1)).permute(2, 0, 3, 1, 4)


class NeoX(NanoGPT):
    """Head by head q, k and v: their rows are not together."""

    attend = staticmethod(by_hand)

    def read(self, x):
        return self.w(x).unflatten(-1, (H, -1)).transpose(1, 2).chunk(3, -1)


class Normed(NanoGPT):
    rotate = staticmethod(lambda x: rotate_pairs(x / x.square().mean(-1, keepdim=True).sqrt()))


class Grouped(Mixer):
    def make(self, d):
        self.w = nn.Linear(d, d + 2 * d // H, bias=False)

    def read(self, x):
        y = self.w(x)
        return heads(y[..., :D]), heads(y[..., D : D + D // H]), heads(y[..., D + D // H :])


class Transposed(NanoGPT):
    def make(self, d):
        self.w = Conv1D(3 * d, d)


class Parameter(Mixer):
    def make(self, d):
        self.w = nn.Parameter(torch.randn(3 * d, d))

    def read(self, x):
        return map(heads, torch.einsum("btd,ed->bte", x, self.w).chunk(3, -1))


class SlicedWeight(Parameter):
    def read(self, x):
        return [heads(F.linear(x, w)) for w in self.w.chunk(3)]


class Torch(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.a = nn.MultiheadAttention(d_model, H, batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.a(x, x, x, attn_mask=mask, need_weights=False)[0]


class StateSpace(nn.Module):
    """Gate, value and two small inputs from one matrix, three of them through one filter, as in Mamba 2."""

    def __init__(self, d_model):
        super().__init__()
        self.w = nn.Linear(d_model, 2 * d_model + 16, bias=False)
        self.filter = nn.Conv1d(d_model + 16, d_model + 16, 4, groups=d_model + 16, padding=3)
        self.o = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        gate, y = self.w(x).split([D, D + 16], -1)
        y = F.silu(self.filter(y.mT)[..., : x.shape[1]].mT)
        value, into, out = y.split([D, 8, 8], -1)
        states = torch.einsum("btn,btd->btnd", into, value).cumsum(1)
        return self.o(torch.einsum("btn,btnd->btd", out, states) * F.silu(gate))


class Recurrent(nn.Module):
    def __init__(self, d_model, kind):
        super().__init__()
        self.cell = getattr(nn, kind)(d_model, d_model, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0]


class Gated(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.w = nn.Linear(d_model, 2 * F_WIDTH, bias=False)
        self.down = nn.Linear(F_WIDTH, d_model, bias=False)

    def forward(self, x):
        gate, up = self.w(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class GatedInPlace(Gated):
    def forward(self, x):
        y = self.w(x)
        hidden = F.silu(y[..., :F_WIDTH])
        hidden *= y[..., F_WIDTH:]
        return self.down(hidden)


class GatedByTorch(Gated):
    def forward(self, x):
        return self.down(F.glu(self.w(x)))


class Plain(Gated):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.down = nn.Linear(2 * F_WIDTH, d_model)

    def forward(self, x):
        return self.down(F.gelu(self.w(x)))


class FlatExperts(nn.Module):
    """Four experts, all of which every token visits, in one tensor of two dimensions."""

    def __init__(self, d_model):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4 * d_model, F_WIDTH))
        self.down = nn.Parameter(torch.randn(4 * F_WIDTH, d_model))

    def forward(self, x):
        flat = x.flatten(0, 1).expand(4, -1, -1)
        hidden = torch.bmm(flat, self.w.view(4, -1, F_WIDTH)).relu()
        return torch.bmm(hidden, self.down.view(4, F_WIDTH, -1)).sum(0).view_as(x)


class Declared(NanoGPT):
    rows = (3 * D,)

    def matrices(self):
        return {"w.weight": self.rows}


def blocks_at(slot, part):
    model = build_model(BASE.replace(f"*.{slot}", part), 0, vocab_size=VOCABULARY, seq_len=T)
    site = f"blocks.0.{slot}."
    return {name.removeprefix(site): blocks for name, blocks in find_blocks(model, VOCABULARY, T).items()}


def sizes(blocks):
    return {name: (side.dim, sorted(map(len, side.indices), reverse=True)) for name, side in blocks.items()}


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (Separate, {}),
        (SeparateByHand, {}),
        (NanoGPT, {"w.weight": (0, [D, D, D])}),
        (Timm, {"w.weight": (0, [D, D, D])}),
        (NeoX, {"w.weight": (0, [D, D, D])}),
        (Normed, {"w.weight": (0, [D, D, D])}),
        (Grouped, {"w.weight": (0, [D, D // H, D // H])}),
        (Transposed, {"w.weight": (1, [D, D, D])}),
        (Parameter, {"w": (0, [D, D, D])}),
        (SlicedWeight, {"w": (0, [D, D, D])}),
        (Torch, {"a.in_proj_weight": (0, [D, D, D])}),
        (StateSpace, {"w.weight": (0, [D, D, 8, 8])}),
        (Declared, {}),
    ],
)
def test_queries_keys_and_values_in_one_tensor_are_three_matrices(mixer, expected):
    assert sizes(blocks_at("mixer", pb.spec(mixer))) == expected


def test_the_rows_are_those_of_each_projection():
    heads_of = {kind: [h * D + kind * D // H + i for h in range(H) for i in range(D // H)] for kind in range(3)}
    found = blocks_at("mixer", pb.spec(NeoX))["w.weight"].indices
    assert sorted(map(list, found)) == sorted(heads_of.values())
    assert blocks_at("mixer", pb.spec(NanoGPT))["w.weight"].indices == tuple(
        tuple(range(start, start + D)) for start in (0, D, 2 * D)
    )


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_the_gates_of_a_recurrent_cell_are_a_matrix_each(kind, gates):
    both = {f"cell.weight_{of}_l0": (0, [D] * gates) for of in ("ih", "hh")}
    assert sizes(blocks_at("mixer", pb.spec(Recurrent, kind=kind))) == (both if gates > 1 else {})


@pytest.mark.parametrize(
    ("mlp", "expected"),
    [
        (Gated, {"w.weight": (0, [F_WIDTH, F_WIDTH])}),
        (GatedInPlace, {"w.weight": (0, [F_WIDTH, F_WIDTH])}),
        (GatedByTorch, {"w.weight": (0, [F_WIDTH, F_WIDTH])}),
        (Plain, {}),
        (FlatExperts, {"w": (0, [D] * 4), "down": (0, [F_WIDTH] * 4)}),
    ],
)
def test_gate_and_up_in_one_tensor_are_two_matrices(mlp, expected):
    assert sizes(blocks_at("mlp", pb.spec(mlp))) == expected


@pytest.mark.parametrize("recipe", ["llama", "gpt2", "mixtral", "hrm", "looped"])
def test_the_matrices_of_the_recipes_are_stored_one_by_one(recipe):
    depth = {"n_low": 1, "n_high": 1} if recipe == "hrm" else {"n_layers": 1}
    more = {"n_loops": 2} if recipe == "looped" else {"n_experts": 4} if recipe == "mixtral" else {}
    model = build_model(
        getattr(pb.nn, recipe)(d_model=D, n_heads=H, **depth, **more), 0, vocab_size=VOCABULARY, seq_len=T
    )
    assert find_blocks(model, VOCABULARY, T) == {}


def test_a_look_leaves_the_model_and_the_generator_as_they_were():
    model = build_model(BASE, 0, vocab_size=VOCABULARY, seq_len=T).train()
    before, state = {n: p.clone() for n, p in model.state_dict().items()}, torch.get_rng_state()
    find_blocks(model, VOCABULARY, T)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(p.grad is None for p in model.parameters())


def test_declared_rows_that_a_parameter_does_not_have_are_refused():
    class Wrong(Declared):
        rows = (D, D)

    with pytest.raises(SpecError, match=r"'blocks.0.mixer.w.weight' the rows \(24, 24\); it has the shape \(72, 24\)"):
        blocks_at("mixer", pb.spec(Wrong))
