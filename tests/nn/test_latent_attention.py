"""Latent attention against DeepSeek-V3 in transformers, its formula, its counts and the attention it is a form of."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.nn.contract import build_at

T = 13
TOLERANCE = 1e-5

DEEPSEEK_NAMES = {
    "q": "q_proj",
    "q_a": "q_a_proj",
    "q_norm": "q_a_layernorm",
    "q_b": "q_b_proj",
    "kv_a": "kv_a_proj_with_mqa",
    "kv_norm": "kv_a_layernorm",
    "kv_b": "kv_b_proj",
    "o": "o_proj",
}


def latent(d_model=24, n_heads=4, seed=0, device="cpu", **arguments):
    with torch.device(device):
        return build_at(spec(pn.LatentAttention, **arguments), "mixer", seed, d_model, n_heads=n_heads, seq_len=32)


def stirred(module, size=0.4):
    """Weights large enough for scores far from uniform, and none at a special value."""
    with torch.no_grad():
        for p in module.parameters():
            p += size * torch.randn_like(p)
    return module


def assert_same_function(ours, theirs, x, pairs):
    """Outputs, input gradients and the gradient of every parameter agree; ``pairs`` is our name to theirs."""
    parameters, expected = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert set(pairs) == set(parameters) and set(pairs.values()) == set(expected)
    with torch.no_grad():
        for name, other in pairs.items():
            parameters[name].copy_(expected[other])
    outputs = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().div(y.numel() ** 0.5).backward()
        outputs.append({"output": y, "gradient of the input": leaf.grad})
    for name, other in pairs.items():
        outputs[0][name], outputs[1][name] = parameters[name].grad, expected[other].grad
    for name, a in outputs[0].items():
        b = outputs[1][name]
        assert (a - b).abs().max() <= TOLERANCE * max(1.0, b.abs().max()), name


class DeepSeek(torch.nn.Module):
    """Their attention as a function of x alone: with the tables and the causal mask that their model hands it."""

    def __init__(self, config):
        super().__init__()
        self.attention = deepseek.DeepseekV3Attention(config, layer_idx=0)
        self.tables = deepseek.DeepseekV3RotaryEmbedding(config)

    def forward(self, x):
        t = x.shape[1]
        tables = self.tables(x, torch.arange(t)[None])
        return self.attention(x, tables, torch.full((t, t), -math.inf).triu(1))[0]


# Their three ways to correct for YaRN: not at all, by both mscales, and by the table alone where neither is given.
CORRECTIONS = {
    "both": ({"mscale": 1.0, "mscale_all_dim": 1.0}, {}),
    "unequal": ({"mscale": 0.707, "mscale_all_dim": 1.3}, {"mscale": 0.707, "mscale_all_dim": 1.3}),
    "neither": ({}, {"mscale_all_dim": 0.0}),
}


@settings(max_examples=40, deadline=None)
@given(
    n_heads=st.sampled_from([1, 2, 3]),
    kv_rank=st.integers(1, 12),
    q_rank=st.none() | st.integers(1, 12),
    rope_dim=st.sampled_from([2, 4, 6, 10]),
    nope_dim=st.integers(0, 8),
    value_dim=st.integers(1, 12),
    bias=st.booleans(),
    interleave=st.booleans(),
    yarn=st.sampled_from([None, *CORRECTIONS]),
    original=st.sampled_from([6, 512]),
    theta=st.sampled_from([500.0, 10_000.0]),
    seed=st.integers(0, 99),
)
def test_latent_attention_is_deepseek_v3s(
    n_heads, kv_rank, q_rank, rope_dim, nope_dim, value_dim, bias, interleave, yarn, original, theta, seed
):
    torch.manual_seed(seed)
    parameters, scaling = {"rope_type": "default", "rope_theta": theta}, None
    if yarn is not None:
        theirs, ours = CORRECTIONS[yarn]
        window = {"factor": 4.0, "original_max_position_embeddings": original}
        parameters = {"rope_type": "yarn", "rope_theta": theta, **window, **theirs}
        scaling = spec(pn.YaRNScaling, factor=4.0, original_seq_len=original, **ours)
    config = DeepseekV3Config(
        hidden_size=22,
        num_attention_heads=n_heads,
        num_key_value_heads=n_heads,
        kv_lora_rank=kv_rank,
        q_lora_rank=q_rank,
        qk_rope_head_dim=rope_dim,
        qk_nope_head_dim=nope_dim,
        v_head_dim=value_dim,
        attention_bias=bias,
        rope_interleave=interleave,
        rope_parameters=parameters,
        max_position_embeddings=4 * original,
        attn_implementation="eager",
    )
    ours = latent(
        22,
        n_heads,
        kv_rank=kv_rank,
        q_rank=q_rank,
        rope_dim=rope_dim,
        nope_dim=nope_dim,
        value_dim=value_dim,
        bias=bias,
        position=spec(pn.RoPE, theta=theta, scaling=scaling, pairing=pn.interleaved if interleave else pn.half_split),
    )
    names = dict(ours.named_parameters())
    pairs = {n: f"attention.{DEEPSEEK_NAMES[n.split('.')[0]]}.{n.split('.')[1]}" for n in names}
    assert_same_function(ours, stirred(DeepSeek(config)), torch.randn(2, T, 22), pairs)


def by_hand(part, x):
    """Loops over heads and places: the formula and nothing else."""
    b, t, _ = x.shape
    n, r, v, c = part.nope_dim, part.rope_dim, part.value_dim, part.kv_rank
    q = part.q(x) if part.q_rank is None else part.q_b(part.q_norm(part.q_a(x)))
    kv = part.kv_a(x)
    shared, expanded = kv[..., c:], part.kv_b(part.kv_norm(kv[..., :c]))
    bias = part.where.bias(t)
    heads = []
    for h in range(part.n_heads):
        own = q[..., h * (n + r) : (h + 1) * (n + r)]
        key = expanded[..., h * (n + v) : h * (n + v) + n]
        value = expanded[..., h * (n + v) + n : (h + 1) * (n + v)]
        turned, rope_key = part.where.rotate(own[:, None, :, n:], shared[:, None])
        scores = own[..., :n] @ key.transpose(1, 2) + turned[:, 0] @ rope_key[:, 0].transpose(1, 2)
        scores = part.where.softmax_scale * scores / math.sqrt(n + r)
        if bias is not None:
            scores = scores + bias[h]
        weights = torch.zeros(b, t, t, dtype=x.dtype)
        for i in range(t):
            weights[:, i, : i + 1] = scores[:, i, : i + 1].softmax(-1)
        heads.append(weights @ value)
    return part.o(torch.cat(heads, dim=-1))


POSITIONS = {
    "none": spec(pn.NoPosition),
    "rope": spec(pn.RoPE),
    "interleaved": spec(pn.RoPE, pairing=pn.interleaved),
    "yarn": spec(pn.RoPE, scaling=spec(pn.YaRNScaling, factor=4.0, original_seq_len=8, mscale=0.5)),
    "alibi": spec(pn.ALiBi),
}


@settings(max_examples=30, deadline=None)
@given(
    position=st.sampled_from([*POSITIONS]),
    q_rank=st.sampled_from([None, 5]),
    sizes=st.tuples(st.sampled_from([0, 2, 6]), st.sampled_from([0, 3]), st.sampled_from([2, 7])),
    bias=st.booleans(),
    norm=st.sampled_from([spec(pn.RMSNorm), spec(pn.LayerNorm), spec(pn.NoNorm)]),
    seed=st.integers(0, 99),
)
def test_latent_attention_is_its_formula_at_any_combination_of_options(position, q_rank, sizes, bias, norm, seed):
    rope_dim, nope_dim, value_dim = sizes
    assume(rope_dim + nope_dim > 0 and (rope_dim > 0 or position in ("none", "alibi")))
    torch.manual_seed(seed)
    dims = {"kv_rank": 5, "rope_dim": rope_dim, "nope_dim": nope_dim, "value_dim": value_dim}
    part = latent(n_heads=3, q_rank=q_rank, bias=bias, norm=norm, position=POSITIONS[position], **dims)
    part = stirred(part.double())
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    torch.testing.assert_close(part(x), by_hand(part, x), atol=1e-6, rtol=1e-6)  # the tables are float32


@pytest.mark.parametrize("pairing", [pn.half_split, pn.interleaved])
def test_latent_attention_without_norms_is_attention_with_keys_and_values_of_low_rank(pairing):
    n, r, c, h, d = 6, 4, 5, 3, 24
    part = latent(n_heads=h, kv_rank=c, rope_dim=r, nope_dim=n, value_dim=n + r, norm=spec(pn.NoNorm), bias=False)
    part._where = (pn.RoPE(r, seq_len=32, pairing=pairing),)
    stirred(part.double())
    full = pn.Attention(d, h, head_dim=n + r, position=pn.RoPE(n + r, 32, fraction=r / (n + r), pairing=pairing))
    full = full.double()
    to_keys, to_values = part.kv_b.weight.unflatten(0, (h, -1)).split((n, n + r), dim=1)  # (H, n, R), (H, v, R)
    down, shared = part.kv_a.weight.split((c, r))
    with torch.no_grad():
        # Attention rotates the front of a head, DeepSeek the end.
        keys = torch.cat((shared.expand(h, r, d), to_keys @ down), dim=1)
        full.k.weight.copy_(keys.flatten(0, 1))
        full.v.weight.copy_((to_values @ down).flatten(0, 1))
        full.q.weight.copy_(part.q.weight.unflatten(0, (h, -1)).roll(r, dims=1).flatten(0, 1))
        full.o.weight.copy_(part.o.weight)
    x = torch.randn(2, 11, d, dtype=torch.float64)
    torch.testing.assert_close(part(x), full(x), atol=1e-9, rtol=1e-9)


def formula(d, h, q, c, n, r, v, bias):
    """ORIGINS.md, section 3; a plain query projection has neither norm nor bias."""
    queries = d * h * (n + r) if q is None else d * q + q + q * h * (n + r) + bias * q
    return queries + d * (c + r) + c + c * h * (n + v) + h * v * d + bias * (c + r + d)


@settings(max_examples=40, deadline=None)
@given(
    d=st.integers(1, 600),
    h=st.integers(1, 9),
    q=st.none() | st.integers(1, 200),
    c=st.integers(1, 200),
    n=st.integers(0, 64),
    r=st.integers(1, 32).map(lambda half: 2 * half),
    v=st.integers(1, 96),
    bias=st.booleans(),
)
def test_parameters_and_operations_are_the_formulas_on_the_meta_device(d, h, q, c, n, r, v, bias):
    sizes = {"q_rank": q, "kv_rank": c, "nope_dim": n, "rope_dim": r, "value_dim": v, "bias": bias}
    part = latent(d, h, device="meta", position=spec(pn.RoPE), **sizes)
    assert sum(p.numel() for p in part.parameters()) == formula(d, h, q, c, n, r, v, bias)
    queries = d * h * (n + r) if q is None else q * (d + h * (n + r))
    per_token = queries + d * (c + r) + c * h * (n + v) + h * v * d + T * h * (n + r + v)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        part(torch.empty(2, T, d, device="meta"))
    assert counter.get_total_flops() == 2 * 2 * T * per_token


def test_arms_of_the_attention_study_differ_by_the_parameters_it_lists():
    def count(**arguments):
        lora = {"q_rank": 64, "kv_rank": 128, "rope_dim": 64, "nope_dim": 0, "value_dim": 64}
        return sum(p.numel() for p in latent(512, 8, device="meta", **{**lora, **arguments}).parameters())

    # Six layers that differ in the mixer alone; the differences are those of the table in ORIGINS.md, section 3.
    lora = 128_810_624
    assert 6 * (4 * 512 * 512 - count()) == 132_151_808 - lora
    assert 6 * (count(value_dim=96, bias=True) - count()) == 129_798_272 - lora
    assert 6 * (count(nope_dim=32, rope_dim=32) - count()) == 128_908_928 - lora
    assert 6 * (count(bias=True) - count()) == 128_815_232 - lora
    assert 6 * (count(value_dim=96) - count()) == 129_793_664 - lora


def test_sizes_left_open_are_the_papers_shares_of_the_heads_width():
    part = pn.LatentAttention(1024, 8)  # K = 128, and DeepSeek-V2's sizes at that width
    assert (part.kv_rank, part.rope_dim, part.nope_dim, part.value_dim) == (512, 64, 128, 128)
    narrow = pn.LatentAttention(96, 3)
    assert (narrow.kv_rank, narrow.rope_dim, narrow.nope_dim, narrow.value_dim) == (48, 16, 32, 32)
    assert pn.LatentAttention(96, 3, head_dim=10).rope_dim == 4
    given_all = pn.LatentAttention(25, 3, kv_rank=4, rope_dim=2, nope_dim=0, value_dim=5)
    assert given_all(torch.randn(1, 4, 25)).shape == (1, 4, 25)


def test_latent_norms_are_sites_of_their_own_in_the_norm_role():
    part = latent(q_rank=6, norm=spec(pn.LayerNorm))
    norms = {name for name, role in pn.roles(part).items() if role == "norm"}
    assert norms == {f"{site}.{name}" for site in ("q_norm", "kv_norm") for name in ("weight", "bias")}


def test_arms_share_the_output_projection_and_plain_queries_with_attention_to_the_bit():
    ours = latent(rope_dim=2, nope_dim=4, value_dim=6, seed=3)
    theirs = build_at(spec(pn.Attention), "mixer", 3, 24, n_heads=4)
    assert torch.equal(ours.o.weight, theirs.o.weight) and torch.equal(ours.q.weight, theirs.q.weight)
    wider = latent(rope_dim=2, nope_dim=4, value_dim=6, kv_rank=9, seed=3)
    assert torch.equal(ours.o.weight, wider.o.weight) and ours.kv_a.weight.shape != wider.kv_a.weight.shape


def test_output_projection_starts_at_its_own_scale():
    part = latent(480, 4, init_std=0.1, out_std=0.001)
    assert part.o.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert part.kv_b.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_models_position_is_used_where_it_fits_and_refused_where_it_does_not():
    def model(**arguments):
        recipe = pn.llama(24, 1, 2, mixer=spec(pn.LatentAttention, **arguments))
        return pn.build_model(recipe, 0, vocab_size=61, seq_len=16)

    fitting = model(rope_dim=12)
    assert fitting.blocks[0].mixer.where is fitting.position
    assert not [name for name, _ in fitting.blocks[0].named_modules() if "position" in name]
    own = model(rope_dim=6, position=spec(pn.RoPE))
    assert own.blocks[0].mixer.where.head_dim == 6
    message = r"head_dim is 6 here and 12 in the model's RoPE; give this mixer a position of its own.*blocks\.0\.mixer"
    with pytest.raises(SpecError, match=message):
        model(rope_dim=6)
    with pytest.raises(SpecError, match="n_heads is 4 here and 3 in the model's ALiBi"):
        pn.LatentAttention(24, 4, position=pn.ALiBi(3))


def test_without_rotation_the_order_of_the_past_does_not_matter_and_with_rotation_it_does():
    x = torch.randn(1, 9, 24)
    shuffled = torch.cat((x[:, torch.randperm(8)], x[:, 8:]), dim=1)
    still, turning = (stirred(latent(position=POSITIONS[name])) for name in ("none", "interleaved"))
    torch.testing.assert_close(still(shuffled)[:, 8], still(x)[:, 8], atol=1e-4, rtol=1e-4)
    assert (turning(shuffled)[:, 8] - turning(x)[:, 8]).abs().max() > 1e-2


def test_dropout_acts_in_training_alone():
    part, plain = stirred(latent(dropout=0.5)), latent()
    plain.load_state_dict(part.state_dict())
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(part.eval()(x), plain(x))
    assert not torch.allclose(part.train()(x), plain(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kv_rank": 0}, "kv_rank must be at least 1, got 0"),
        ({"q_rank": 0}, "q_rank must be at least 1, got 0"),
        ({"value_dim": 0}, "value_dim must be at least 1, got 0"),
        ({"nope_dim": -1}, "nope_dim must be at least 0, got -1"),
        ({"rope_dim": 0, "nope_dim": 0}, "both 0"),
        ({"rope_dim": 3, "position": spec(pn.RoPE)}, r"1\.0 of head_dim 3 must be even"),
        ({"n_heads": 5}, "d_model 24 is no multiple of n_heads 5; or give head_dim"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(SpecError, match=message):
        latent(**arguments)
