"""Mixtures of experts against the public implementations in transformers, after copying weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.nn.contract import build_at

TOLERANCE = 1e-5


def gradient(parameter):
    """None is zero: the gate of a router with one normalised weight, where transformers has what s / s rounds to."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def gate_half(theirs):
    return theirs.experts.gate_up_proj, lambda t: t.chunk(2, dim=1)[0]


def up_half(theirs):
    return theirs.experts.gate_up_proj, lambda t: t.chunk(2, dim=1)[1]


def whole(p):
    return p, lambda t: t


def pairs_of(theirs):
    """Our parameter name to their parameter and how to read it, of one mixture of experts."""
    pairs = {
        "router.gate.weight": whole(theirs.gate.weight),
        "experts.gate.weight": gate_half(theirs),
        "experts.up.weight": up_half(theirs),
        "experts.down.weight": whole(theirs.experts.down_proj),
    }
    if hasattr(theirs, "shared_experts"):
        for name in ("gate", "up", "down"):
            pairs[f"shared.{name}.weight"] = whole(theirs.shared_experts.get_parameter(f"{name}_proj.weight"))
    return pairs


def assert_parity(site, theirs, x):
    """Outputs and the gradient of the input and of every parameter agree in float32."""
    ours = build_at(site, "", 0, x.shape[-1], slot="mlp")
    pairs, parameters = pairs_of(theirs), dict(ours.named_parameters())
    assert pairs.keys() == parameters.keys()
    with torch.no_grad():
        for p in theirs.parameters():  # experts built alone are not initialized
            p.copy_(0.5 * torch.randn_like(p))
        for name, (p, read) in pairs.items():
            parameters[name].copy_(read(p))
        if ours.router.bias is not None:
            theirs.gate.e_score_correction_bias.copy_(0.3 * torch.randn(ours.n_experts))
            ours.router.bias.copy_(theirs.gate.e_score_correction_bias)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(a), theirs(b)
    weight = torch.randn_like(y) / y.numel() ** 0.5
    torch.testing.assert_close(y, expected, atol=TOLERANCE, rtol=TOLERANCE)
    (y * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, atol=TOLERANCE, rtol=1e-4)
    for name, (p, read) in pairs.items():
        torch.testing.assert_close(gradient(parameters[name]), read(p.grad), atol=TOLERANCE, rtol=1e-4, msg=name)


SIZES = {"d": st.integers(2, 24), "f": st.integers(1, 20), "t": st.integers(1, 12)}


@settings(max_examples=20, deadline=None)
@given(n_experts=st.integers(1, 8), top_k=st.integers(1, 8), **SIZES)
def test_mixtral(n_experts, top_k, d, f, t):
    top_k = min(top_k, n_experts)
    config = MixtralConfig(
        hidden_size=d, intermediate_size=f, num_local_experts=n_experts, num_experts_per_tok=top_k, hidden_act="silu"
    )
    site = spec(pn.MoE, n_experts=n_experts, router=spec(pn.TopK, top_k=top_k), experts=spec(pn.GatedExperts, d_ff=f))
    assert_parity(site, MixtralSparseMoeBlock(config), torch.randn(2, t, d))


@settings(max_examples=20, deadline=None)
@given(n_experts=st.integers(1, 8), top_k=st.integers(1, 8), normalize=st.booleans(), **SIZES)
def test_qwen3_moe(n_experts, top_k, normalize, d, f, t):
    top_k = min(top_k, n_experts)
    config = Qwen3MoeConfig(
        hidden_size=d,
        moe_intermediate_size=f,
        num_experts=n_experts,
        num_experts_per_tok=top_k,
        norm_topk_prob=normalize,
        hidden_act="silu",
    )
    router = spec(pn.TopK, top_k=top_k, normalize=normalize)
    site = spec(pn.MoE, n_experts=n_experts, router=router, experts=spec(pn.GatedExperts, d_ff=f))
    assert_parity(site, Qwen3MoeSparseMoeBlock(config), torch.randn(2, t, d))


@settings(max_examples=30, deadline=None)
@given(
    n_groups=st.integers(1, 4),
    group_size=st.integers(2, 4),  # theirs takes the best two of a group
    top_groups=st.integers(1, 4),
    top_k=st.integers(1, 6),
    normalize=st.booleans(),
    scale=st.floats(0.5, 3.0),
    n_shared=st.integers(1, 2),
    **SIZES,
)
def test_deepseek_v3_moe(n_groups, group_size, top_groups, top_k, normalize, scale, n_shared, d, f, t):
    top_groups = min(top_groups, n_groups)
    top_k = min(top_k, top_groups * group_size)
    n_experts = n_groups * group_size
    config = DeepseekV3Config(
        hidden_size=d,
        moe_intermediate_size=f,
        n_routed_experts=n_experts,
        num_experts_per_tok=top_k,
        n_group=n_groups,
        topk_group=top_groups,
        norm_topk_prob=normalize,
        routed_scaling_factor=scale,
        n_shared_experts=n_shared,
        hidden_act="silu",
    )
    router = spec(
        pn.TopK,
        top_k=top_k,
        score=pn.sigmoid,
        normalize=normalize,
        scale=scale,
        n_groups=n_groups,
        top_groups=top_groups,
        bias_rate=0.001,
    )
    site = spec(
        pn.MoE,
        n_experts=n_experts,
        router=router,
        experts=spec(pn.GatedExperts, d_ff=f),
        shared=spec(pn.GatedMLP, d_ff=n_shared * f),
    )
    assert_parity(site, DeepseekV3MoE(config), torch.randn(2, t, d))


@pytest.mark.parametrize("top_k", [1, 2])
def test_load_balance_is_that_of_transformers_divided_by_the_experts_per_token(top_k):
    """Theirs counts shares of tokens, which sum to A."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    router = pn.TopK(8, 5, top_k, init_std=0.5)
    routing = router(torch.randn(2, 9, 8))
    theirs = load_balancing_loss_func((routing.logits.flatten(0, 1),), num_experts=5, top_k=top_k)
    torch.testing.assert_close(pn.LoadBalance()(routing), theirs / top_k)


# Whole models

V, T = 61, 12
MIXERS = {
    **{f"{name}_proj": name for name in "qkvo"},
    **{"q_a_proj": "q_a", "q_b_proj": "q_b", "kv_a_proj_with_mqa": "kv_a", "kv_b_proj": "kv_b"},
    **{"q_a_layernorm": "q_norm", "kv_a_layernorm": "kv_norm"},
}


def model_pairs(theirs):
    """Our parameter name to their parameter and how to read it, of a whole model."""
    pairs = {"embedding.weight": theirs.model.embed_tokens.weight, "final_norm.weight": theirs.model.norm.weight}
    if not theirs.config.tie_word_embeddings:
        pairs["head.weight"] = theirs.lm_head.weight
    pairs = {name: whole(p) for name, p in pairs.items()}
    for i, layer in enumerate(theirs.model.layers):
        pairs[f"blocks.{i}.mixer_norm.weight"] = whole(layer.input_layernorm.weight)
        pairs[f"blocks.{i}.mlp_norm.weight"] = whole(layer.post_attention_layernorm.weight)
        for name, p in layer.self_attn.named_parameters():
            pairs[f"blocks.{i}.mixer.{MIXERS[name.split('.')[0]]}.{name.split('.')[1]}"] = whole(p)
        if hasattr(layer.mlp, "experts"):
            pairs.update({f"blocks.{i}.mlp.{name}": pair for name, pair in pairs_of(layer.mlp).items()})
        else:
            for name in ("gate", "up", "down"):
                pairs[f"blocks.{i}.mlp.{name}.weight"] = whole(layer.mlp.get_parameter(f"{name}_proj.weight"))
    return pairs


def assert_model_parity(arm, theirs):
    ours = pn.build_model(arm, 0, vocab_size=V, seq_len=T)
    pairs, parameters = model_pairs(theirs), dict(ours.named_parameters())
    assert pairs.keys() == parameters.keys()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.1 * torch.randn_like(p))
        for name, (p, read) in pairs.items():
            parameters[name].copy_(read(p))
        for block, layer in zip(ours.blocks, theirs.model.layers, strict=True):
            if isinstance(block.mlp, pn.MoE) and block.mlp.router.bias is not None:
                layer.mlp.gate.e_score_correction_bias.copy_(0.1 * torch.randn(block.mlp.n_experts))
                block.mlp.router.bias.copy_(layer.mlp.gate.e_score_correction_bias)
    ids = torch.randint(V, (2, T))
    weight = torch.randn(2, T, V) / (2 * T * V)
    logits, expected = ours(ids), theirs(ids).logits
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=TOLERANCE)
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    for name, (p, read) in pairs.items():
        torch.testing.assert_close(gradient(parameters[name]), read(p.grad), atol=TOLERANCE, rtol=1e-4, msg=name)


@settings(max_examples=4, deadline=None)
@given(kv_heads=st.sampled_from([1, 2, 4]), top_k=st.integers(1, 3), tied=st.booleans())
def test_mixtral_recipe_is_the_model_of_transformers(kv_heads, top_k, tied):
    config = MixtralConfig(
        vocab_size=V,
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        num_local_experts=5,
        num_experts_per_tok=top_k,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        max_position_embeddings=T,
        tie_word_embeddings=tied,
        attn_implementation="eager",
        experts_implementation="eager",
    )
    arm = pn.mixtral(24, 2, 4, n_kv_heads=kv_heads, n_experts=5, top_k=top_k, d_ff=20, tied=tied)
    assert_model_parity(arm, MixtralForCausalLM(config).eval())


@settings(max_examples=6, deadline=None)
@given(
    dense=st.integers(0, 2), q_rank=st.none() | st.integers(2, 9), top_k=st.integers(1, 4), n_shared=st.integers(1, 2)
)
def test_deepseek_v3_recipe_is_the_model_of_transformers(dense, q_rank, top_k, n_shared):
    config = DeepseekV3Config(
        vocab_size=V,
        hidden_size=24,
        intermediate_size=20,
        moe_intermediate_size=9,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_shared_experts=n_shared,
        n_routed_experts=6,
        routed_scaling_factor=2.5,
        kv_lora_rank=7,
        q_lora_rank=q_rank,
        qk_rope_head_dim=4,
        v_head_dim=5,
        qk_nope_head_dim=6,
        n_group=3,
        topk_group=2,
        num_experts_per_tok=top_k,
        first_k_dense_replace=dense,
        num_mtp_layers=0,
        max_position_embeddings=T,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        attn_implementation="eager",
        experts_implementation="eager",
    )
    arm = pn.deepseek_v3(
        24,
        2,
        4,
        kv_rank=7,
        q_rank=q_rank,
        rope_dim=4,
        nope_dim=6,
        value_dim=5,
        n_dense_layers=dense,
        d_ff=20,
        n_experts=6,
        top_k=top_k,
        expert_d_ff=9,
        n_shared=n_shared,
        n_groups=3,
        top_groups=2,
        tied=False,
    )
    assert_model_parity(arm, DeepseekV3ForCausalLM(config).eval())
