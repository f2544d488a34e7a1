"""The recipes against the public implementations in transformers, after copying weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import paribus.nn as pn
from paribus.design.specs import spec

V, T = 61, 24
TOLERANCE = 1e-5

LLAMA_NAMES = {
    "input_layernorm": "mixer_norm",
    "post_attention_layernorm": "mlp_norm",
    "self_attn.q_proj": "mixer.q",
    "self_attn.k_proj": "mixer.k",
    "self_attn.v_proj": "mixer.v",
    "self_attn.o_proj": "mixer.o",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
GPT2_NAMES = {
    "ln_1": "mixer_norm",
    "ln_2": "mlp_norm",
    "attn.c_proj": "mixer.o",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def llama_pairs(theirs, n_layers):
    """Our parameter name to their parameter and how to read it."""
    pairs = {"embedding.weight": theirs.model.embed_tokens.weight, "final_norm.weight": theirs.model.norm.weight}
    if not theirs.config.tie_word_embeddings:
        pairs["head.weight"] = theirs.lm_head.weight
    for i in range(n_layers):
        for name, ours in LLAMA_NAMES.items():
            module = theirs.model.layers[i].get_submodule(name)
            pairs.update({f"blocks.{i}.{ours}.{n}": p for n, p in module.named_parameters()})
    return {name: (p, lambda t: t) for name, p in pairs.items()}


def gpt2_pairs(theirs, n_layers):
    body = theirs.transformer
    keep = {"embedding.weight": body.wte.weight, "position.table.weight": body.wpe.weight}
    keep |= {f"final_norm.{n}": p for n, p in body.ln_f.named_parameters()}
    pairs = {name: (p, lambda t: t) for name, p in keep.items()}
    for i in range(n_layers):
        for name, ours in GPT2_NAMES.items():
            module = body.h[i].get_submodule(name)
            for n, p in module.named_parameters():
                # Conv1D holds its matrix the other way round.
                pairs[f"blocks.{i}.{ours}.{n}"] = (p, lambda t: t.t())
        for j, ours in enumerate("qkv"):
            for n, p in body.h[i].attn.c_attn.named_parameters():
                pairs[f"blocks.{i}.mixer.{ours}.{n}"] = (p, lambda t, j=j: t.chunk(3, dim=-1)[j].t())
    return pairs


def assert_parity(ours, theirs, pairs, t=T):
    """Logits and the gradient of every parameter agree in float32."""
    parameters = dict(ours.named_parameters())
    assert pairs.keys() == parameters.keys()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.1 * torch.randn_like(p))
        for name, (p, read) in pairs.items():
            parameters[name].copy_(read(p))
    tokens = torch.randint(V, (2, t))
    weight = torch.randn(2, t, V) / (2 * t * V)
    logits, expected = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=TOLERANCE)
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    for name, (p, read) in pairs.items():
        torch.testing.assert_close(parameters[name].grad, read(p.grad), atol=TOLERANCE, rtol=1e-4, msg=name)


def hf_llama(d_model, n_layers, n_heads, **arguments):
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        rms_norm_eps=1e-6,
        max_position_embeddings=T,
        **arguments,
    )
    return LlamaForCausalLM(config)


@settings(max_examples=6, deadline=None)
@given(
    n_layers=st.integers(1, 2),
    heads=st.sampled_from([(1, 1), (2, 2), (4, 2), (6, 3), (4, 1)]),
    head_dim=st.sampled_from([4, 8]),
    d_ff=st.sampled_from([20, 33]),
    tied=st.booleans(),
    theta=st.sampled_from([500.0, 10_000.0]),
    seed=st.integers(0, 99),
)
def test_llama_equals_transformers(n_layers, heads, head_dim, d_ff, tied, theta, seed):
    torch.manual_seed(seed)
    h, g = heads
    theirs = hf_llama(
        h * head_dim,
        n_layers,
        h,
        num_key_value_heads=g,
        intermediate_size=d_ff,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    recipe = pn.llama(
        h * head_dim, n_layers, h, n_kv_heads=g, d_ff=d_ff, tied=tied, position=spec(pn.RoPE, theta=theta)
    )
    ours = pn.build_model(recipe, seed, vocab_size=V, seq_len=T)
    assert_parity(ours, theirs, llama_pairs(theirs, n_layers))


@pytest.mark.parametrize(
    ("scaling", "parameters"),
    [
        (spec(pn.LinearScaling, factor=2.0), {"rope_type": "linear", "factor": 2.0}),
        (
            spec(pn.YaRNScaling, factor=4.0, original_seq_len=6),
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 6},
        ),
        (
            spec(pn.YaRNScaling, factor=4.0, original_seq_len=512, beta_fast=16.0, beta_slow=2.0),
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 512,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
            },
        ),
    ],
    ids=["linear", "yarn", "yarn, long"],
)
def test_scaled_rope_equals_transformers(scaling, parameters):
    theirs = hf_llama(
        48, 1, 2, intermediate_size=20, tie_word_embeddings=True, rope_parameters={"rope_theta": 10_000.0, **parameters}
    )
    recipe = pn.llama(48, 1, 2, d_ff=20, position=spec(pn.RoPE, scaling=scaling))
    ours = pn.build_model(recipe, 0, vocab_size=V, seq_len=T)
    assert_parity(ours, theirs, llama_pairs(theirs, 1))


@settings(max_examples=4, deadline=None)
@given(
    n_layers=st.integers(1, 2),
    n_heads=st.sampled_from([1, 2, 3]),
    head_dim=st.sampled_from([4, 7]),
    t=st.integers(2, T),
    seed=st.integers(0, 99),
)
def test_gpt2_equals_transformers(n_layers, n_heads, head_dim, t, seed):
    torch.manual_seed(seed)
    d = n_heads * head_dim
    config = GPT2Config(
        vocab_size=V,
        n_positions=T,
        n_embd=d,
        n_layer=n_layers,
        n_head=n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = GPT2LMHeadModel(config)
    ours = pn.build_model(pn.gpt2(d, n_layers, n_heads), seed, vocab_size=V, seq_len=T)
    assert_parity(ours, theirs, gpt2_pairs(theirs, n_layers), t=t)


def test_window_qk_norm_and_groups_equal_qwen3s():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=V,
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=10,
        max_position_embeddings=T,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        use_sliding_window=True,
        sliding_window=5,
        max_window_layers=0,
        layer_types=["sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    theirs = Qwen3ForCausalLM(config)
    mixer = spec(pn.Attention, n_kv_heads=2, qk_norm=spec(pn.RMSNorm), window=5)
    recipe = pn.llama(24, 1, 4, d_ff=20, mixer=mixer).replace("head_dim", 10)
    ours = pn.build_model(recipe, 0, vocab_size=V, seq_len=T)
    pairs = llama_pairs(theirs, 1)
    for n in "qk":
        norm = getattr(theirs.model.layers[0].self_attn, f"{n}_norm")
        pairs[f"blocks.0.mixer.qk_norm.{n}.weight"] = (norm.weight, lambda t: t)
    assert_parity(ours, theirs, pairs)
