"""Positions: what each promises about places, and values from the papers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.nn.position import alibi_slopes


def rotated(rope, x, place):
    """One vector of width K as it looks at ``place``."""
    q = x.expand(1, 1, place + 1, -1)
    return rope.rotate(q, q)[0][0, 0, place]


@settings(max_examples=15, deadline=None)
@given(
    half=st.integers(1, 8),
    fraction=st.sampled_from([0.5, 1.0]),
    theta=st.sampled_from([100.0, 10_000.0]),
    places=st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 99),
)
def test_rope_scores_depend_on_the_distance_alone(half, fraction, theta, places, seed):
    torch.manual_seed(seed)
    rope = pn.RoPE(4 * half, seq_len=41, theta=theta, fraction=fraction)
    q, k = torch.randn(2, 4 * half)
    t, s, shift = places
    near = rotated(rope, q, t) @ rotated(rope, k, s)
    far = rotated(rope, q, t + shift) @ rotated(rope, k, s + shift)
    torch.testing.assert_close(near, far, atol=2e-4, rtol=1e-4)


def test_rope_turns_pairs_by_hand():
    # K = 4, theta = 100: frequencies 1 and 1/10; dimension i is paired with i + 2.
    rope = pn.RoPE(4, seq_len=8, theta=100.0)
    x = torch.tensor([1.0, 0.0, 0.0, 2.0])
    expected = [math.cos(3), -2 * math.sin(0.3), math.sin(3), 2 * math.cos(0.3)]
    torch.testing.assert_close(rotated(rope, x, 3), torch.tensor(expected))
    assert torch.equal(rotated(rope, x, 0), x)


@settings(max_examples=25, deadline=None)
@given(
    half=st.integers(1, 12),
    rest=st.sampled_from([0, 2, 5]),
    theta=st.sampled_from([100.0, 10_000.0]),
    t=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_interleaved_rope_multiplies_neighbours_as_complex_numbers(half, rest, theta, t, seed):
    torch.manual_seed(seed)
    width = 2 * half
    rope = pn.RoPE(width + rest, 20, theta=theta, fraction=width / (width + rest), pairing=pn.interleaved)
    x = torch.randn(2, 3, t, width + rest)
    angles = torch.outer(torch.arange(t).double(), theta ** (-torch.arange(0, width, 2).double() / width))
    turn = torch.polar(torch.ones_like(angles), angles)
    numbers = torch.view_as_complex(x[..., :width].double().unflatten(-1, (half, 2)).contiguous())
    expected = torch.cat((torch.view_as_real(numbers * turn).flatten(-2), x[..., width:].double()), dim=-1)
    for turned in rope.rotate(x, x):
        torch.testing.assert_close(turned.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scaling", [None, spec(pn.YaRNScaling, factor=4.0, original_seq_len=8, mscale=2.0)])
def test_the_two_pairings_are_one_rotation_of_dimensions_in_another_order(scaling):
    x = torch.randn(2, 3, 9, 16)
    neighbours = torch.arange(16).view(2, 8).t().flatten()  # 0, 8, 1, 9, ...
    half = pn.RoPE(16, 9, scaling=scaling)
    turned, _ = pn.RoPE(16, 9, scaling=scaling, pairing=pn.interleaved).rotate(x[..., neighbours], x)
    assert torch.equal(turned, half.rotate(x, x)[0][..., neighbours])


def outer_pairs(x):
    return x.flip(-1)


def test_pairing_may_be_any_function_that_exchanges_partners():
    # K = 4: the pairs are (0, 3) and (1, 2), with frequencies 1 and 1/10.
    rope = pn.RoPE(4, seq_len=8, theta=100.0, pairing=outer_pairs)
    expected = [math.cos(3), -2 * math.sin(0.3), 2 * math.cos(0.3), math.sin(3)]
    torch.testing.assert_close(rotated(rope, torch.tensor([1.0, 0.0, 2.0, 0.0]), 3), torch.tensor(expected))


def shifted(x):
    return x.roll(1, dims=-1)


def unmoved(x):
    return x


@pytest.mark.parametrize("pairing", [shifted, unmoved])
def test_pairing_without_pairs_is_refused(pairing):
    with pytest.raises(SpecError, match=f"{pairing.__name__} does not put dimensions into pairs; use half_split or"):
        pn.RoPE(8, seq_len=8, pairing=pairing)


def test_rope_is_built_where_nothing_is_allocated():
    with torch.device("meta"):
        rope = pn.RoPE(8, seq_len=5, pairing=pn.interleaved)
        q, _ = rope.rotate(torch.empty(1, 2, 5, 8), torch.empty(1, 1, 5, 8))
    assert rope.cos.is_meta and q.shape == (1, 2, 5, 8)


def test_partial_rope_leaves_the_rest_of_the_head_alone():
    rope = pn.RoPE(8, seq_len=16, fraction=0.5)
    q = torch.randn(2, 3, 16, 8)
    turned, _ = rope.rotate(q, q)
    assert torch.equal(turned[..., 4:], q[..., 4:])
    assert not torch.allclose(turned[..., :4], q[..., :4])
    torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))


def test_partial_rope_turns_its_share_as_a_full_rope_of_that_width():
    q = torch.randn(2, 3, 16, 8)
    turned, _ = pn.RoPE(8, seq_len=16, fraction=0.5).rotate(q, q)
    full, _ = pn.RoPE(4, seq_len=16).rotate(q[..., :4], q[..., :4])
    torch.testing.assert_close(turned[..., :4], full)


def test_linear_scaling_reads_place_2t_as_place_t():
    plain, scaled = pn.RoPE(8, seq_len=32), pn.RoPE(8, seq_len=32, scaling=spec(pn.LinearScaling, factor=2.0))
    x = torch.randn(8)
    torch.testing.assert_close(rotated(scaled, x, 20), rotated(plain, x, 10), atol=1e-5, rtol=1e-5)


def test_ntk_scaling_is_a_larger_base():
    factor, k = 4.0, 16
    scaled = pn.RoPE(k, seq_len=32, scaling=spec(pn.NTKScaling, factor=factor))
    base = pn.RoPE(k, seq_len=32, theta=10_000.0 * factor ** (k / (k - 2)))
    torch.testing.assert_close(scaled.cos, base.cos, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scaled.sin, base.sin, atol=1e-5, rtol=1e-5)


def test_yarn_keeps_fast_turns_divides_slow_ones_and_sharpens_the_softmax():
    scaling = pn.YaRNScaling(factor=8.0, original_seq_len=2048)
    plain = 1.0 / 10_000.0 ** (torch.arange(0, 128, 2) / 128)
    ratio = scaling.rescale(plain, 10_000.0) / plain
    turns = 2048 * plain / (2 * math.pi)
    # The ramp ends at whole indices just outside 32 turns and 1 turn.
    torch.testing.assert_close(ratio[turns > 40], torch.ones(int((turns > 40).sum())))
    torch.testing.assert_close(ratio[turns < 0.8], torch.full((int((turns < 0.8).sum()),), 1 / 8))
    assert ((ratio[1:] - ratio[:-1]) <= 1e-6).all()
    assert pn.YaRNScaling(factor=8.0, original_seq_len=2048).softmax_scale == pytest.approx(1.2079442**2, rel=1e-6)
    assert pn.YaRNScaling(factor=1.0, original_seq_len=2048).softmax_scale == 1.0


@pytest.mark.parametrize(
    ("mscales", "table", "softmax"),
    [
        # With factor 40, m(s) = 0.1 s ln 40 + 1 is 1.3688879 for s = 1 and 1.2608038 for s = 0.707.
        ({}, 1.0, 1.3688879**2),
        ({"mscale": 0.707, "mscale_all_dim": 0.707}, 1.0, 1.2608038**2),
        ({"mscale_all_dim": 0.0}, 1.3688879, 1.0),
        ({"mscale": 0.707}, 1.2608038 / 1.3688879, 1.3688879**2),
    ],
)
def test_yarn_divides_its_correction_between_tables_and_softmax(mscales, table, softmax):
    scaling = spec(pn.YaRNScaling, factor=40.0, original_seq_len=4096, **mscales)
    rope, plain = pn.RoPE(8, 16, scaling=scaling), pn.RoPE(8, 16, scaling=scaling.replace("mscale*", 1.0))
    assert rope.softmax_scale == pytest.approx(softmax, rel=1e-6)
    torch.testing.assert_close(rope.cos, table * plain.cos)
    torch.testing.assert_close(rope.sin, table * plain.sin)


def test_yarn_corrects_a_wholly_rotated_head_by_tables_as_it_does_by_the_softmax():
    q, k = torch.randn(2, 1, 2, 9, 16)
    scores = []
    for all_dim in (0.0, 0.4, 1.0):
        scaling = spec(pn.YaRNScaling, factor=4.0, original_seq_len=8, mscale_all_dim=all_dim)
        rope = pn.RoPE(16, 9, scaling=scaling)
        turned_q, turned_k = rope.rotate(q, k)
        scores.append(rope.softmax_scale * turned_q @ turned_k.transpose(-1, -2))
    torch.testing.assert_close(scores[0], scores[2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores[1], scores[2], atol=1e-5, rtol=1e-5)


def test_yarn_that_does_not_stretch_corrects_nothing_whatever_its_mscales():
    scaling = pn.YaRNScaling(factor=1.0, original_seq_len=8, mscale=2.0, mscale_all_dim=0.5)
    assert (scaling.softmax_scale, scaling.table_scale) == (1.0, 1.0)


@pytest.mark.parametrize("name", ["mscale", "mscale_all_dim"])
def test_yarn_with_a_negative_correction_is_refused(name):
    with pytest.raises(SpecError, match=f"{name} must not be negative, got -0.5"):
        pn.YaRNScaling(factor=4.0, original_seq_len=8, **{name: -0.5})


def test_alibi_slopes_are_the_papers():
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(16)[:2] == pytest.approx([2**-0.5, 2**-1])
    # The authors' code for 12 heads: the 8 of above, then every other one of 16.
    assert alibi_slopes(12) == pytest.approx([2.0**-h for h in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])


def test_alibi_bias_falls_with_the_distance():
    bias = pn.ALiBi(8).bias(5)
    assert bias.shape == (8, 5, 5)
    assert bias[0, 4].tolist() == [-2.0, -1.5, -1.0, -0.5, 0.0]
    assert bias[7, 4, 0].item() == -4 * 2**-8


def test_sinusoidal_table_is_the_papers():
    position = pn.Sinusoidal(6, seq_len=10)
    table = position.embed(torch.zeros(1, 10, 6))[0]
    for t, i in ((0, 0), (3, 0), (7, 1), (9, 2)):
        angle = t / 10_000 ** (2 * i / 6)
        assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_learned_positions_are_added_row_by_row():
    position = pn.Learned(4, seq_len=6)
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(position.embed(x) - x, position.table.weight[:5].expand(2, 5, 4))


@pytest.mark.parametrize("position", [pn.Learned(4, seq_len=6), pn.Sinusoidal(4, seq_len=6), pn.NoPosition()])
def test_tokens_are_placed_from_where_they_start(position):
    x = torch.randn(2, 6, 4)
    pieces = [position.embed(x[:, :2]), position.embed(x[:, 2:3], start=2), position.embed(x[:, 3:], start=3)]
    assert torch.equal(torch.cat(pieces, dim=1), position.embed(x))
    if not isinstance(position, pn.NoPosition):
        with pytest.raises(SpecError, match="built for seq_len 6 and got 7 tokens"):
            position.embed(x[:, :3], start=4)


@pytest.mark.parametrize("position", [pn.RoPE(4, seq_len=6), pn.Learned(4, seq_len=6), pn.Sinusoidal(4, seq_len=6)])
def test_window_longer_than_the_table_is_an_error_that_names_both(position):
    with pytest.raises(SpecError, match="built for seq_len 6 and got 7 tokens"):
        position.rotate(*[position.embed(torch.zeros(1, 7, 4))[None]] * 2)


def test_rope_that_would_split_a_pair_is_refused():
    with pytest.raises(SpecError, match=r"0\.5 of head_dim 6 must be even"):
        pn.RoPE(6, seq_len=8, fraction=0.5)


def test_sinusoidal_table_has_the_rms_it_is_given_and_in_a_model_that_of_the_embeddings():
    plain, scaled = pn.Sinusoidal(6, seq_len=10).table, pn.Sinusoidal(6, seq_len=10, init_std=0.02).table
    torch.testing.assert_close(plain.square().mean(), torch.tensor(0.5))
    torch.testing.assert_close(scaled, plain * 0.02 * 2**0.5)
    recipe = pn.gpt2(24, 1, 2, position=spec(pn.Sinusoidal))
    model = pn.build_model(recipe, 0, vocab_size=61, seq_len=16)
    assert model.position.table.square().mean().sqrt().item() == pytest.approx(0.02)
    paper = pn.build_model(recipe.replace("position.init_std", None), 0, vocab_size=61, seq_len=16)
    assert paper.position.table.square().mean().sqrt().item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("factor", [0, -2.0])
@pytest.mark.parametrize(
    "scaling",
    [spec(pn.LinearScaling), spec(pn.NTKScaling), spec(pn.YaRNScaling, original_seq_len=8)],
    ids=lambda s: s.cls.__name__,
)
def test_a_scaling_by_nothing_is_refused(scaling, factor):
    with pytest.raises(SpecError, match=f"factor must be positive, got {factor}"):
        scaling.cls(factor=factor, **dict(scaling.arguments))
