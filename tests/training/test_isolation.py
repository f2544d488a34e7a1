import pytest
import torch
from torch import nn

from paribus.training.isolation import evaluating, preserving


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm1d(2)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("cache", None)

    def forward(self, x):
        self.count = self.count + 1  # replaced, not changed in place
        self.cache = x
        return self.inner(x)


def test_passes_inside_move_no_buffer_gradient_or_mode():
    part = Part()
    part.inner.eval()
    part.inner.weight.grad = torch.full((2,), 7.0)
    before = {name: value.clone() for name, value in part.state_dict().items()}
    count = part.count
    with preserving(part):
        part.train().zero_grad()
        part(torch.arange(6.0).reshape(3, 2)).sum().backward()
        assert part.count == 1 and part.inner.num_batches_tracked == 1
    assert all(torch.equal(part.state_dict()[name], value) for name, value in before.items())
    assert part.count is count and part.cache is None
    assert part.inner.weight.grad.tolist() == [7.0, 7.0] and part.inner.bias.grad is None
    assert part.training and not part.inner.training


@pytest.mark.parametrize("mode", [True, False])
def test_evaluating_restores_the_mode_even_where_a_pass_fails(mode):
    part = Part().train(mode)
    with pytest.raises(ZeroDivisionError), evaluating(part):
        assert not part.training and not part.inner.training
        raise ZeroDivisionError
    assert part.training == part.inner.training == mode
