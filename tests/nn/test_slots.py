import re

import pytest
import torch
from torch import nn

import paribus as pb
from paribus.errors import MissingArgument
from paribus.nn.catalogue import discover_parts
from paribus.nn.slots import SHAPED_ALIKE, find_slots

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
    ],
)
def test_what_a_class_does_says_where_it_stands(cls, slots):
    assert find_slots(pb.spec(cls)).slots == slots


def test_a_part_of_features_also_runs_in_the_slots_of_the_same_shape():
    assert find_slots(pb.spec(nn.RMSNorm)).runs == SHAPED_ALIKE


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Pair, "returns a tuple, expected one tensor"),
        (Widened, r"\(3, 13, 96\) came out as \(3, 13, 192\), expected \(3, 13, 96\)"),
    ],
)
def test_a_class_that_fits_nowhere_is_told_why(cls, said):
    found = find_slots(pb.spec(cls))
    assert found.slots == () and found.runs == ()
    assert re.search(said, found.refused["norm, mlp, mixer, block"])


def test_all_arguments_that_no_site_gives_are_named_at_once():
    with pytest.raises(MissingArgument, match="needs 'hidden', 'depth'") as caught:
        find_slots(pb.spec(NeedsMore))
    assert caught.value.names == ("hidden", "depth")
    assert caught.value.cls is NeedsMore


def test_a_model_is_asked_with_what_a_study_hands_down_and_no_more():
    with pytest.raises(MissingArgument, match="needs 'width'"):
        find_slots(pb.spec(WideModel))
    assert find_slots(pb.spec(WideModel, width=3)).slots == ("model",)
