"""HyperMixer and linear attention: the definition, the chunks, what they hold, where positions go."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.nn.contract import build_at
from paribus.training.cost import count_flops


def make(site, d_model=12, n_heads=3, seq_len=40, seed=0, **legend):
    legend = {"d_model": d_model, "n_heads": n_heads, "seq_len": seq_len, **legend}
    return build_at(site, "mixer", seed, d_model, slot="mixer", **legend)


def unsettled(module, seed=1):
    """The part with no weight at a special value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
    return module


def tokens(b, t, d, dtype=torch.float64):
    return torch.randn(b, t, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def by_definition(mixer, x):
    """ORIGINS.md section 6, one head and one token at a time, every state held."""
    width = x.shape[-1] // mixer.n_heads
    u, placed = x.split(width, -1), mixer.places.embed(x).split(width, -1)
    values = u if mixer.value is None else mixer.value(x).split(width, -1)

    def generate(net, h, z):
        up, down = ((layer.weight[h], None if layer.bias is None else layer.bias[h]) for layer in (net.up, net.down))
        return F.linear(F.gelu(F.linear(z, *up)), *down)

    heads = []
    for h in range(mixer.n_heads):
        a = generate(mixer.write, h, placed[h])  # (B, T, R)
        r = a if mixer.read is None else generate(mixer.read, h, placed[h])
        total, ys = 0, []
        for t in range(x.shape[1]):
            total = mixer.decay * total + a[:, t, :, None] * values[h][:, t, None, :]
            n = sum(mixer.decay ** (2 * (t - j)) for j in range(t + 1))
            ys.append((mixer.activation(total / math.sqrt(n)) * r[:, t, :, None]).sum(1))
        heads.append(torch.stack(ys, dim=1))
    return mixer.o(mixer.out_norm(torch.cat(heads, -1)))


def gradients(function, module, x):
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return y, torch.autograd.grad((y * weights).sum(), [x, *module.parameters()])


OPTIONS = st.fixed_dictionaries(
    {
        "d_hidden": st.sampled_from([None, 1, 7]),
        "decay": st.sampled_from([1.0, 0.999999, 0.9, 0.3]),
        "value": st.sampled_from([None, spec(pn.Linear)]),
        "tied": st.booleans(),
        "bias": st.booleans(),
        "chunk": st.integers(1, 14),
    }
)


@settings(max_examples=12, deadline=None)
@given(OPTIONS, st.sampled_from([pn.gelu, torch.tanh, pn.identity]), st.integers(1, 13))
def test_hypermixer_and_its_gradients_are_those_of_the_definition(options, activation, t):
    mixer = unsettled(make(spec(pn.HyperMixer, activation=activation, **options)).double())
    x = tokens(2, t, 12)
    y, found = gradients(mixer, mixer, x)
    expected, wanted = gradients(lambda z: by_definition(mixer, z), mixer, x)
    torch.testing.assert_close(y, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-7)


@settings(max_examples=12, deadline=None)
@given(OPTIONS, st.integers(1, 13))
def test_linear_attention_is_hypermixer_without_its_nonlinearity(options, t):
    linear = unsettled(make(spec(pn.LinearAttention, **options)))
    mixer = make(spec(pn.HyperMixer, activation=pn.identity, **options))
    mixer.load_state_dict(linear.state_dict())
    x = tokens(2, t, 12, torch.float32)
    torch.testing.assert_close(linear(x), mixer(x), rtol=1e-5, atol=1e-5)
    linear, mixer, x = linear.double(), mixer.double(), x.double()
    torch.testing.assert_close(gradients(linear, linear, x), gradients(mixer, mixer, x), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("part", [pn.HyperMixer, pn.LinearAttention])
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_chunk_changes_nothing(part, decay):
    x = tokens(2, 37, 12, torch.float32)
    whole, chunked, single = (unsettled(make(spec(part, decay=decay, chunk=c))) for c in (64, 16, 1))
    torch.testing.assert_close(chunked(x), whole(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single(x), whole(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [pn.HyperMixer, pn.LinearAttention])
def test_steps_of_any_length_continue_one_another_and_their_state_does_not_grow(part):
    mixer = unsettled(make(spec(part, decay=0.9, d_hidden=5, chunk=4))).eval()
    x = tokens(2, 30, 12, torch.float32)
    state, ys, sizes = None, [], set()
    with torch.no_grad():
        for piece in x.split([1, 1, 11, 1, 16], dim=1):
            y, state = mixer.step(piece, state)
            ys.append(y)
            sizes.add(state[0].numel())
        torch.testing.assert_close(torch.cat(ys, dim=1), mixer(x), rtol=1e-5, atol=1e-5)
    assert sizes == {2 * 12 * 5}  # B D R


@pytest.mark.parametrize("part", [pn.HyperMixer, pn.LinearAttention])
@pytest.mark.parametrize("places", [spec(pn.Sinusoidal, init_std=None), spec(pn.Learned), spec(pn.NoPosition)])
def test_a_step_costs_the_same_wherever_it_stands(part, places):
    mixer = make(spec(part, places=places, d_hidden=5), seq_len=400)
    x = tokens(2, 1, 12, torch.float32)
    _, (total, _) = mixer.step(x)
    largest = []
    for seen in (1, 399):
        with _Largest() as noted:
            mixer.step(x, (total, seen))
        largest.append(noted.numel)
    assert largest[0] == largest[1]


def test_decay_so_strong_that_a_chunk_leaves_nothing_representable():
    """1e-6 to the 64th underflows to 0, whose logarithm is no number."""
    mixer = unsettled(make(spec(pn.LinearAttention, decay=1e-6, chunk=64), seq_len=100)).double()
    x = tokens(1, 100, 12)
    torch.testing.assert_close(mixer(x), by_definition(mixer, x), rtol=1e-8, atol=1e-8)


def test_two_tokens_by_hand():
    mixer = make(spec(pn.LinearAttention, decay=0.5, places=spec(pn.NoPosition), out_norm=spec(pn.NoNorm)), 1, 1)
    with torch.no_grad():
        for p in mixer.parameters():
            p.fill_(1.0)
    # a = r = gelu(x): gelu(1) = 0.841345, gelu(2) = 1.954500
    # S_1 = 0.841345, n_1 = 1;  S_2 = 0.5 * 0.841345 + 1.9545 * 2 = 4.329672, n_2 = 1 + 0.25
    expected = torch.tensor([0.841345**2, 4.329672 / math.sqrt(1.25) * 1.9545])
    torch.testing.assert_close(mixer(torch.tensor([[[1.0], [2.0]]])).flatten(), expected, rtol=1e-5, atol=1e-5)


class _Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return out


def test_training_never_holds_the_states_of_all_tokens():
    b, t, d, k, chunk = 1, 128, 64, 48, 16
    mixer = make(spec(pn.HyperMixer, d_hidden=k, chunk=chunk), d, 1, t)
    x = tokens(b, t, d, torch.float32)
    saved = []
    with _Largest() as seen:
        with torch.autograd.graph.saved_tensors_hooks(lambda z: saved.append(z.numel()) or z, lambda z: z):
            y = mixer(x).sum()
        y.backward()
    assert seen.numel == b * chunk * k * d  # one chunk's states, in both directions
    # Between the two directions: a few numbers per token, and the weights.
    assert sum(saved) < 20 * b * t * d + 3 * sum(p.numel() for p in mixer.parameters())
    assert 20 * b * t * d < b * t * k * d


def test_without_positions_the_order_of_the_past_is_forgotten_and_with_them_it_is_not():
    x = tokens(1, 9, 12)
    shuffled = x.clone()
    shuffled[:, :8] = x[:, torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])]
    for places, same in ((spec(pn.NoPosition), True), (spec(pn.Sinusoidal, init_std=None), False)):
        mixer = unsettled(make(spec(pn.HyperMixer, places=places)).double())
        assert torch.allclose(mixer(x)[:, -1], mixer(shuffled)[:, -1], atol=1e-10) is same


def test_positions_are_its_own_and_at_the_scale_of_normed_tokens():
    recipe = pn.llama(24, 1, 2, mixer=spec(pn.HyperMixer))
    model = pn.build_model(recipe, 0, vocab_size=61, seq_len=16)
    places = model.blocks[0].mixer.places
    assert isinstance(model.position, pn.RoPE) and isinstance(places, pn.Sinusoidal)
    assert places.table.square().mean().sqrt().item() == pytest.approx(math.sqrt(0.5), rel=1e-5)


def test_at_the_start_the_epsilon_of_its_norm_is_small_beside_what_it_norms():
    mixer = make(spec(pn.HyperMixer), 96, 3, 64, init_std=0.02)
    heard = []
    mixer.out_norm.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0]))
    mixer(tokens(4, 64, 96, torch.float32))
    assert heard[0].square().mean(-1).sqrt().min().item() > 0.1


def test_sums_are_float32_under_autocast():
    mixer = make(spec(pn.HyperMixer), 24, 2, 64)
    x = tokens(2, 40, 24, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        _, (total, _) = mixer.step(x)
        y = mixer(x)
    assert total.dtype is torch.float32
    exact = mixer(x)
    assert (y - exact).norm() / exact.norm() < 0.02  # bfloat16 has 8 bits


def test_weights_are_matrices_and_biases_vectors_for_the_optimizer():
    mixer = make(spec(pn.HyperMixer, bias=True))
    found = pn.roles(mixer)
    assert found["write.up.weight"] == found["read.down.weight"] == "matrix"
    assert found["write.up.bias"] == found["read.down.bias"] == "vector"
    assert found["out_norm.weight"] == "norm"


def test_linear_attention_and_hypermixer_start_with_the_same_weights():
    one, other = (make(spec(part), seed=3).state_dict() for part in (pn.HyperMixer, pn.LinearAttention))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_follow_the_formula(tied):
    d, h, k = 24, 3, 5
    e = d // h
    generators = (1 if tied else 2) * h * (e * e + e * k)
    mixer = make(spec(pn.HyperMixer, d_hidden=k, tied=tied, value=spec(pn.Linear)), d, h)
    assert sum(p.numel() for p in mixer.parameters()) == generators + 2 * d * d + d


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_floating_point_operations_follow_the_formula(device):
    d, h, k, c, t, v = 24, 2, 5, 4, 16, 61
    e = d // h

    def flops(mixer):
        recipe = pn.llama(d, 1, h, mixer=mixer)
        model = pn.build_model(recipe, 0, vocab_size=v, seq_len=t, device=device)
        return count_flops(model, t, device)["forward_flops_per_token"]

    around = 2 * v * d + 2 * 3 * d * 64  # the head, and the MLP of width 64
    generated = 2 * 2 * h * (e * e + e * k) + 2 * d * d
    # per number of the state: its sum over the chunk and its use; and the chunk's sum for the next
    assert flops(spec(pn.HyperMixer, d_hidden=k, chunk=c)) == around + generated + 2 * h * k * e * (c + 1 + 1)
    chunks = t // c
    compared = 2 * h * c * (k + e)
    carried = 2 * h * k * e * (1 + 1 + chunks / c)  # added up, read, and handed from chunk to chunk
    assert flops(spec(pn.LinearAttention, d_hidden=k, chunk=c)) == around + generated + compared + carried


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"decay": 0.0}, r"decay must be above 0 and at most 1, got 0.0 \[site mixer\]"),
        ({"decay": 1.5}, "got 1.5"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"d_hidden": 0}, "d_hidden and chunk must be at least 1, got 0"),
        ({"n_heads": 5}, "no multiple of n_heads 5"),
        ({"places": spec(pn.RoPE)}, "RoPE does nothing in embed"),
        ({"activation": nn.GELU}, "activation must be a function such as paribus.nn.gelu"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, said):
    with pytest.raises(SpecError, match=said):
        make(spec(pn.HyperMixer, **arguments), head_dim=4)
