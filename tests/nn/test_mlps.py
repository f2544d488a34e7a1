"""MLPs: activations by hand, gates, widths."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MLP

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError


@pytest.mark.parametrize(
    ("activation", "values"),
    [
        (pn.relu, [0.0, 0.0, 2.0]),
        (pn.relu_squared, [0.0, 0.0, 4.0]),
        (pn.silu, [-0.268941, 0.0, 1.761594]),  # x / (1 + exp(-x))
        (pn.gelu, [-0.158655, 0.0, 1.954500]),  # x Phi(x)
        (pn.gelu_tanh, [-0.158808, 0.0, 1.954598]),
    ],
)
def test_activation_has_the_values_of_its_formula(activation, values):
    torch.testing.assert_close(activation(torch.tensor([-1.0, 0.0, 2.0])), torch.tensor(values), atol=1e-6, rtol=0)


def test_gated_mlp_whose_gate_is_constant_is_the_plain_mlp_without_activation():
    gated, plain = pn.GatedMLP(6, d_ff=10, activation=torch.ones_like), pn.MLP(6, d_ff=10, activation=nn.Identity)
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if "gate" not in k})
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(gated(x), plain(x))


@settings(max_examples=20, deadline=None)
@given(d_model=st.integers(1, 40), d_ff=st.integers(1, 70), seed=st.integers(0, 99))
def test_gated_mlp_is_deepseek_v3s(d_model, d_ff, seed):
    torch.manual_seed(seed)
    theirs = DeepseekV3MLP(DeepseekV3Config(hidden_size=d_model, intermediate_size=d_ff))
    ours = pn.GatedMLP(d_model, d_ff=d_ff)
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            p.copy_(0.5 * torch.randn_like(p))
            ours.get_parameter(name.replace("_proj", "")).copy_(p)
    x = torch.randn(2, 5, d_model)
    found, wanted = [], []
    for module, heard in ((ours, found), (theirs, wanted)):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        heard += [y, leaf.grad, module.get_parameter("down.weight" if module is ours else "down_proj.weight").grad]
        heard += [p.grad for name, p in module.named_parameters() if "down" not in name]
    assert len(found) == len(wanted) == 5
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max())


@pytest.mark.parametrize("d_ff", [0, -3])
def test_a_hidden_width_below_one_is_refused_and_not_taken_for_the_default(d_ff):
    for make in (
        lambda: pn.MLP(6, d_ff=d_ff),
        lambda: pn.GatedMLP(6, d_ff=d_ff),
        lambda: pn.Experts(6, 2, d_ff=d_ff),
        lambda: pn.GatedExperts(6, 2, d_ff=d_ff),
    ):
        with pytest.raises(SpecError, match=f"d_ff must be at least 1, got {d_ff}"):
            make()


def test_gated_mlp_with_an_identity_gate_is_bilinear():
    gated = pn.GatedMLP(6, activation=nn.Identity).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    torch.testing.assert_close(gated(3 * x), 9 * gated(x))


@pytest.mark.parametrize("activation", [F.silu, pn.silu, nn.SiLU, spec(nn.SiLU)])
def test_activation_is_a_function_a_class_or_a_spec(activation):
    mlp = pn.MLP(6, d_ff=10, activation=activation)
    x = torch.randn(2, 3, 6)
    expected = F.linear(F.silu(F.linear(x, mlp.up.weight)), mlp.down.weight)
    torch.testing.assert_close(mlp(x), expected)


def test_activation_with_a_parameter_trains_it():
    mlp = pn.MLP(6, activation=spec(nn.PReLU, init=0.1))
    mlp(torch.randn(4, 6)).sum().backward()
    assert mlp.activation.weight.item() == pytest.approx(0.1)
    assert mlp.activation.weight.grad.abs() > 0


@pytest.mark.parametrize(("d_model", "width"), [(96, 256), (128, 344), (256, 680), (512, 1368), (4096, 10920)])
def test_gated_width_is_eight_thirds_to_the_nearest_multiple_of_eight(d_model, width):
    assert pn.gated_width(d_model) == width
    plain = sum(p.numel() for p in pn.MLP(d_model).parameters()) if d_model < 1000 else 8 * d_model**2
    assert abs(3 * d_model * width / plain - 1) < 0.01


def test_projection_back_to_the_residual_stream_has_its_own_scale():
    mlp = pn.MLP(256, init_std=0.02, out_std=0.005)
    assert mlp.up.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert mlp.down.weight.std().item() == pytest.approx(0.005, rel=0.02)
