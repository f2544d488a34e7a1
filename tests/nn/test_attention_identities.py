"""Attention: options that must not matter, and options that must matter in one known way."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.nn.contract import build_at


def attention(seed=0, d_model=24, n_heads=4, **arguments):
    made = build_at(spec(pn.Attention, **arguments), "mixer", seed, d_model, n_heads=n_heads, seq_len=32)
    with torch.no_grad():
        for name in "qkvo":
            getattr(made, name).weight.mul_(20)  # scores far from uniform
    return made.double()


def assert_same(a, b, x, tolerance=1e-10):
    torch.testing.assert_close(a(x), b(x), atol=tolerance, rtol=tolerance)


X = torch.randn(2, 17, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_hand(part, x, bias=0.0, window=10**9, softcap=None, scale=1.0):
    """Loops and a plain softmax: the formula and nothing else."""
    out = []
    h_per_g = part.n_heads // part.n_kv_heads
    q, k, v = (p(x).unflatten(-1, (-1, part.head_dim)) for p in (part.q, part.k, part.v))
    t = x.shape[1]
    for h in range(part.n_heads):
        scores = scale * q[:, :, h] @ k[:, :, h // h_per_g].transpose(1, 2) / math.sqrt(part.head_dim)
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        scores = scores + (bias[h] if isinstance(bias, torch.Tensor) else bias)
        for i in range(t):
            for j in range(t):
                if j > i or i - j >= window:
                    scores[:, i, j] = -math.inf
        out.append(scores.softmax(-1) @ v[:, :, h // h_per_g])
    return part.o(torch.cat(out, dim=-1))


@settings(max_examples=10, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    window=st.sampled_from([None, 1, 3, 16]),
    softcap=st.sampled_from([None, 2.0]),
    head_dim=st.sampled_from([None, 5]),
    alibi=st.booleans(),
    bias=st.booleans(),
)
def test_attention_is_its_formula_at_any_combination_of_options(groups, window, softcap, head_dim, alibi, bias):
    part = attention(
        n_kv_heads=groups,
        window=window,
        softcap=softcap,
        head_dim=head_dim,
        bias=bias,
        position=spec(pn.ALiBi) if alibi else None,
    )
    x = X[:, :9]
    added = part.where.bias(9) if alibi else 0.0
    expected = by_hand(part, x, added, window or 10**9, softcap)
    torch.testing.assert_close(part(x), expected, atol=1e-10, rtol=1e-10)


def test_grouped_query_with_as_many_groups_as_heads_is_multi_head_to_the_bit():
    assert torch.equal(attention(n_kv_heads=4)(X), attention()(X))


def test_grouped_query_is_multi_head_with_repeated_keys_and_values():
    gqa, mha = attention(n_kv_heads=2), attention()
    with torch.no_grad():
        for name in "kv":
            heads = getattr(gqa, name).weight.unflatten(0, (2, 6))
            getattr(mha, name).weight.copy_(heads.repeat_interleave(2, dim=0).flatten(0, 1))
    assert_same(gqa, mha, X)


@pytest.mark.parametrize("window", [17, 18, 1000])
def test_window_as_long_as_the_text_is_full_attention_to_the_bit(window):
    assert torch.equal(attention(window=window)(X), attention()(X))


def test_window_of_one_token_passes_each_token_its_own_value():
    part = attention(window=1)
    torch.testing.assert_close(part(X), part.o(part.v(X)))


def test_window_hides_what_lies_before_it():
    part, moved = attention(window=4), X.clone()
    moved[:, 5] += 1.0
    changed = (part(moved) - part(X)).abs().amax(dim=(0, 2)) > 0
    assert changed.nonzero().flatten().tolist() == [5, 6, 7, 8]


def test_soft_cap_without_limit_is_no_soft_cap():
    assert_same(attention(softcap=1e9), attention(), X, tolerance=1e-9)
    assert (attention(softcap=1.0)(X) - attention()(X)).abs().max() > 1e-3


def test_soft_cap_near_zero_averages_over_the_past():
    part = attention(softcap=1e-12)
    v = part.v(X).cumsum(1) / torch.arange(1, 18)[:, None]
    torch.testing.assert_close(part(X), part.o(v))


def test_qk_norm_makes_scores_independent_of_the_scale_of_queries_and_keys():
    part = attention(qk_norm=spec(pn.RMSNorm, eps=0.0))
    before = part(X)
    with torch.no_grad():
        part.q.weight.mul_(7)
        part.k.weight.mul_(0.3)
    torch.testing.assert_close(part(X), before)
    assert set(dict(part.named_parameters())) >= {"qk_norm.q.weight", "qk_norm.k.weight"}
    assert pn.roles(part)["qk_norm.q.weight"] == "norm"


def test_attention_without_positions_ignores_the_order_of_the_past_and_rope_does_not():
    shuffled = X.clone()
    shuffled[:, :16] = shuffled[:, torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    nope, rope = attention(), attention(position=spec(pn.RoPE))
    torch.testing.assert_close(nope(shuffled)[:, 16], nope(X)[:, 16])
    assert (rope(shuffled)[:, 16] - rope(X)[:, 16]).abs().max() > 1e-3


def test_position_of_a_mixers_own_overrides_the_models():
    recipe = pn.llama(d_model=24, n_layers=2, n_heads=2)
    model = pn.build_model(recipe.replace("blocks.1.mixer.position", spec(pn.NoPosition)), 0, vocab_size=61, seq_len=16)
    assert model.blocks[0].mixer.where is model.position
    assert type(model.blocks[1].mixer.where) is pn.NoPosition


def test_yarn_scales_the_scores():
    scaling = spec(pn.YaRNScaling, factor=4.0, original_seq_len=8)
    part = attention(position=spec(pn.RoPE, scaling=scaling))
    assert part.where.softmax_scale == pytest.approx((0.1 * math.log(4) + 1) ** 2)
    rope = part.where
    part._where = (Unturned(rope.softmax_scale),)
    torch.testing.assert_close(part(X), by_hand(part, X, scale=rope.softmax_scale))


class Unturned(pn.Position):
    def __init__(self, scale):
        super().__init__()
        self.softmax_scale = scale


def test_dropout_acts_in_training_alone():
    part = attention(dropout=0.5)
    assert torch.equal(part.eval()(X), attention()(X))
    assert not torch.equal(part.train()(X), part.eval()(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"softcap": -1.0}, "softcap must be"),
        ({"n_kv_heads": 0}, "n_kv_heads must be at least 1, got 0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
    ],
)
def test_option_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(SpecError, match=message):
        attention(**arguments)
