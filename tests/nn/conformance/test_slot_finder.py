import numpy as np
import pytest
import torch
from torch import nn

import paribus as pb
from paribus.errors import MissingArgument, PartError, SpecError
from paribus.nn.conformance.slot_finder import KEEP_SHAPE, find_slots
from paribus.nn.discovery import discover_parts

PARTS = [part for part in discover_parts() if part.slot != "model" and part.name != "NoNorm"]


class CausalConvolution(nn.Module):
    """y_t = sum_k w_k x_(t-k), each feature for itself."""

    def __init__(self, dim, taps=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, 1, taps))

    def forward(self, x):
        padded = nn.functional.pad(x.transpose(1, 2), (self.weight.shape[-1] - 1, 0))
        return nn.functional.conv1d(padded, self.weight, groups=x.shape[-1]).transpose(1, 2)


class ResidualConvolution(CausalConvolution):
    def forward(self, x):
        return x + super().forward(nn.functional.layer_norm(x, x.shape[-1:]))


class Bigram(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens):
        return self.table(tokens)


class WideModel(Bigram):
    def __init__(self, vocab_size, width):
        super().__init__(vocab_size)


class NeedsMore(nn.Linear):
    def __init__(self, dim, hidden, depth):
        super().__init__(dim, hidden)


class Encoder(nn.Module):
    """A whole block of torch, norms after the sums or before."""

    def __init__(self, dim, norm_first=False):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, batch_first=True, norm_first=norm_first)

    def forward(self, x):
        mask = torch.full((x.shape[1],) * 2, float("-inf"), dtype=x.dtype).triu(1)
        return self.layer(x, src_mask=mask)


class MatrixNorm(nn.Module):
    """A LayerNorm followed by a square matrix."""

    def __init__(self, dim):
        super().__init__()
        self.norm, self.turn = nn.LayerNorm(dim), nn.Linear(dim, dim)

    def forward(self, x):
        return self.turn(self.norm(x))


class Drawn(nn.Module):
    def forward(self, x):
        return x + torch.from_numpy(np.random.randn(*x.shape))


class FixedWidth(nn.Module):
    def __init__(self, dim=512):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.gain


class Keywords(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(kwargs["dim"]))


class SharedDefault(nn.Module):
    def __init__(self, dim, activation=nn.PReLU()):  # noqa: B008 (the mistake that is to be caught)
        super().__init__()
        self.activation = activation


class Pair(nn.Identity):
    def forward(self, x):
        return x, None


class Widened(nn.Identity):
    def forward(self, x):
        return torch.cat((x, x), -1)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_of_paribus_behaves_like_the_slot_it_is_listed_in(part):
    assert find_slots(pb.spec(part.cls)).slots == (part.slot,)


@pytest.mark.parametrize(
    ("cls", "slots"),
    [
        (nn.RMSNorm, ("norm",)),
        (nn.LayerNorm, ("norm",)),
        (nn.Tanh, ("norm",)),  # without weights, and it does not grow with its input
        (nn.Identity, ("norm", "mlp")),  # behaviour does not decide
        (CausalConvolution, ("mixer",)),
        (ResidualConvolution, ("block",)),
        (Bigram, ("model",)),
        (Encoder, ("mixer", "block")),  # norms after the sums: like its input, and not certainly a sum
        (MatrixNorm, ("norm", "mlp")),
    ],
)
def test_what_a_class_does_says_where_it_stands(cls, slots):
    assert find_slots(pb.spec(cls)).slots == slots


def test_a_part_of_features_also_runs_in_the_slots_of_the_same_shape():
    assert find_slots(pb.spec(nn.RMSNorm)).runs == KEEP_SHAPE


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Pair, "Pair does not fit as norm, mlp, mixer or block: forward returns a tuple, expected one tensor"),
        (Drawn, "Drawn: two calls with one input and one seed differ by .*; draw from torch's generator alone"),
        (FixedWidth, "'dim' has the default 512 and is not given the width: drop the default"),
        (Keywords, r"its constructor fails: KeyError: 'dim' .*names no arguments \(\*\*kwargs\)"),
        (Widened, r"\(3, 13, 96\) came out as \(3, 13, 192\), expected \(3, 13, 96\)"),
    ],
)
def test_a_class_that_fits_nowhere_is_told_why(cls, said):
    with pytest.raises(PartError, match=said):
        find_slots(pb.spec(cls))


def test_a_block_with_its_norms_before_the_sums_is_a_block():
    assert find_slots(pb.spec(Encoder, norm_first=True)).slots == ("block",)


def test_a_default_that_every_site_would_share_is_refused():
    with pytest.raises(SpecError, match="the default of 'activation' is one PReLU with weights"):
        find_slots(pb.spec(SharedDefault))


def test_all_arguments_that_no_site_gives_are_named_at_once():
    with pytest.raises(MissingArgument, match="needs 'hidden', 'depth'") as caught:
        find_slots(pb.spec(NeedsMore))
    assert caught.value.names == ("hidden", "depth")
    assert caught.value.cls is NeedsMore


def test_a_model_is_asked_with_what_a_study_hands_down_and_no_more():
    with pytest.raises(MissingArgument, match="needs 'width'"):
        find_slots(pb.spec(WideModel))
    assert find_slots(pb.spec(WideModel, width=3)).slots == ("model",)
