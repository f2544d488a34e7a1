import pytest
import torch
from torch import nn

from paribus.nn.init import nudge


def nudged(seed, dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Linear(50, 40).to(dtype)
    nn.init.zeros_(model.bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    nudge(model, seed)
    return before, dict(model.named_parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_weight_moves_to_its_neighbour_and_zeros_stay(dtype):
    before, after = nudged(0, dtype)
    old, new = before["weight"], after["weight"]
    up = torch.nextafter(old, torch.full_like(old, torch.inf))
    down = torch.nextafter(old, torch.full_like(old, -torch.inf))
    assert torch.all((new == up) | (new == down))
    assert torch.equal(after["bias"], torch.zeros(40, dtype=dtype))


def test_about_half_go_up():
    before, after = nudged(0)
    share = (after["weight"] > before["weight"]).float().mean().item()
    assert abs(share - 0.5) < 4 * 0.5 / 2000**0.5


def test_another_seed_nudges_otherwise_and_the_same_seed_alike():
    assert torch.equal(nudged(3)[1]["weight"], nudged(3)[1]["weight"])
    assert not torch.equal(nudged(3)[1]["weight"], nudged(4)[1]["weight"])
