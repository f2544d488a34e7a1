"""MLPs: activations by hand, gates, widths."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import paribus.nn as pn
from paribus.specs import spec


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
