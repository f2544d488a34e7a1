import torch

from paribus.nn.noise import seeded


def test_a_stream_starts_anew_each_time_and_leaves_the_generator_where_it_was():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(7):
        first = torch.rand(3)
    with seeded(7):
        assert torch.equal(torch.rand(3), first)
    with seeded(8):
        assert not torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(2), expected)
