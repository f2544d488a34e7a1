"""Norms against torch.nn, against their formulas, and by what they ignore."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import paribus.nn as pn


def randomized(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


def assert_same_function(ours, theirs, x, tolerance=1e-5):
    """Outputs, input gradients and weight gradients agree; weights are paired in order of registration."""
    results = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        results.append([y, leaf.grad, *(p.grad for p in module.parameters())])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@settings(max_examples=12, deadline=None)
@given(dim=st.integers(2, 65), eps=st.sampled_from([1e-8, 1e-6, 1e-5, 0.1]), seed=st.integers(0, 99))
def test_layer_norm_and_rms_norm_equal_torchs(dim, eps, seed):
    torch.manual_seed(seed)
    x = 3 * torch.randn(2, 5, dim) + 1
    for ours, theirs in (
        (pn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)),
        (pn.LayerNorm(dim, eps=eps, bias=False), nn.LayerNorm(dim, eps=eps, bias=False)),
        (pn.LayerNorm(dim, eps=eps, gain=False, bias=False), nn.LayerNorm(dim, eps=eps, elementwise_affine=False)),
        (pn.RMSNorm(dim, eps=eps), nn.RMSNorm(dim, eps=eps)),
        (pn.RMSNorm(dim, eps=eps, gain=False), nn.RMSNorm(dim, eps=eps, elementwise_affine=False)),
    ):
        randomized(ours)
        theirs.load_state_dict(ours.state_dict())
        assert_same_function(ours, theirs, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_with_the_cast_before_the_gain_is_llamas_to_the_bit(dtype):
    ours, theirs = pn.RMSNorm(96, eps=1e-6, order=pn.cast_then_gain), LlamaRMSNorm(96, eps=1e-6)
    randomized(ours)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 7, 96, dtype=dtype)
    a, b = ours.to(dtype)(x), theirs.to(dtype)(x)
    assert a.dtype == b.dtype == dtype
    if dtype is torch.bfloat16:
        assert torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    dim=st.integers(1, 130),
    x_type=st.sampled_from([torch.bfloat16, torch.float32]),
    gain_type=st.sampled_from([torch.bfloat16, torch.float32]),
    size=st.sampled_from([1e-4, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_rms_norm_with_the_cast_before_the_gain_is_deepseek_v3s_to_the_bit(dim, x_type, gain_type, size, seed):
    torch.manual_seed(seed)
    theirs = randomized(DeepseekV3RMSNorm(dim)).to(gain_type)
    ours = pn.RMSNorm(dim, eps=1e-6, order=pn.cast_then_gain).to(gain_type)
    ours.load_state_dict(theirs.state_dict())
    x = (size * torch.randn(3, 7, dim)).to(x_type)
    a, b = ours(x), theirs(x)
    assert a.dtype is b.dtype and torch.equal(a, b)


def test_cast_order_of_rms_norm_matters_in_bf16_and_not_in_float32():
    first, last = pn.RMSNorm(96, order=pn.cast_then_gain), pn.RMSNorm(96, order=pn.gain_then_cast)
    randomized(first)
    last.load_state_dict(first.state_dict())
    x = torch.randn(64, 96)
    torch.testing.assert_close(first(x), last(x), atol=1e-6, rtol=1e-6)
    assert not torch.equal(first.bfloat16()(x.bfloat16()), last.bfloat16()(x.bfloat16()))


def test_rms_norm_ignores_the_scale_of_its_input_and_layer_norm_also_its_shift():
    x = torch.randn(3, 48, dtype=torch.float64)
    rms, layer = pn.RMSNorm(48, eps=0.0).double(), pn.LayerNorm(48, eps=0.0).double()
    torch.testing.assert_close(rms(5 * x), rms(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(layer(5 * x + 3), layer(x), atol=1e-12, rtol=0)
    assert (rms(x + 3) - rms(x)).abs().max() > 0.1


def test_rms_norm_of_a_centred_input_is_layer_norm():
    x = torch.randn(6, 32, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    rms, layer = pn.RMSNorm(32, eps=1e-5).double(), pn.LayerNorm(32, eps=1e-5, bias=False).double()
    torch.testing.assert_close(rms(x), layer(x), atol=1e-12, rtol=0)


def test_scale_norm_starts_at_the_square_root_of_the_width_and_has_one_parameter():
    norm = pn.ScaleNorm(49)
    assert [p.numel() for p in norm.parameters()] == [1]
    assert norm.weight.item() == 7.0
    y = norm(torch.randn(5, 49))
    torch.testing.assert_close(y.norm(dim=-1), torch.full((5,), 7.0))
    assert torch.equal(norm(torch.zeros(1, 49)), torch.zeros(1, 49))


def test_scale_norm_is_rms_norm_at_the_start():
    x = torch.randn(4, 25, dtype=torch.float64)
    rms = pn.RMSNorm(25, eps=0.0).double()
    torch.testing.assert_close(pn.ScaleNorm(25, eps=0.0).double()(x), rms(x), atol=1e-12, rtol=0)


def test_dyt_is_its_formula():
    norm = randomized(pn.DyT(3, alpha=0.8))
    x = torch.tensor([[-2.0, 0.0, 1.5]])
    g, b, a = norm.weight.tolist(), norm.bias.tolist(), norm.alpha.item()
    expected = [g[i] * math.tanh(a * v) + b[i] for i, v in enumerate(x[0].tolist())]
    torch.testing.assert_close(norm(x), torch.tensor([expected]))
    assert pn.DyT(3).alpha.item() == 0.5  # the paper's default


def test_no_norm_is_the_identity():
    x = torch.randn(2, 3, 5)
    assert torch.equal(pn.NoNorm()(x), x)
