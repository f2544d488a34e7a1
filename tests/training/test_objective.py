"""The loss that a run minimises, with and without all logits in memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import paribus as pb
from paribus.nn.contract import build_model
from paribus.training import objective
from paribus.training.objective import cross_entropy, find_unembedding, linear_cross_entropy, model_loss

LLAMA = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)


def make(recipe=LLAMA):
    return build_model(recipe, 0, vocab_size=50, seq_len=8)


def draw(rows=3, length=7, vocab=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(vocab, (rows, length), generator=generator) for _ in range(2))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(2, 300), st.integers(1, 60), st.integers(0, 2**31))
def test_loss_and_gradients_are_those_of_the_whole_logits_for_any_sizes(n, d, vocab, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, n, d, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(vocab, d, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(vocab, (1, n), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, "_chunk_rows", lambda x, vocab_size: rows)
        loss = linear_cross_entropy(x, weight, targets)
    expected = F.cross_entropy(F.linear(x, weight).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)
    own, theirs = (torch.autograd.grad(3 * value, (x, weight)) for value in (loss, expected))
    torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("largest", [30.0, 1e3, 1e5])
def test_large_logits_lose_no_more_than_the_whole_softmax_does(largest):
    x, targets = torch.tensor([[[1.0]]]), torch.tensor([[0]])
    weight = torch.tensor([[largest], [largest - 4.0], [0.0]])
    exact = cross_entropy(F.linear(x.double(), weight.double()), targets)
    assert (linear_cross_entropy(x, weight, targets) - exact).abs() <= 1e-6
    assert (linear_cross_entropy(x, weight, targets + 1) - exact - 4).abs() <= 1e-6


def test_logits_that_are_not_finite_give_a_loss_that_is_not():
    weight, targets = torch.ones(3, 1), torch.tensor([[0]])
    for x in (torch.inf, -torch.inf, torch.nan):
        assert not linear_cross_entropy(torch.tensor([[[x]]]), weight, targets).isfinite()


def test_float32_agrees_to_1e_5_at_a_large_vocabulary():
    torch.manual_seed(0)
    x = torch.randn(2, 100, 32, requires_grad=True)
    weight = nn.Parameter(torch.randn(49152, 32) * 0.1)
    targets = torch.randint(49152, (2, 100))
    loss = linear_cross_entropy(x, weight, targets)
    expected = cross_entropy(F.linear(x, weight), targets)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    for own, theirs in zip(
        torch.autograd.grad(loss, (x, weight)), torch.autograd.grad(expected, (x, weight)), strict=True
    ):
        assert (own - theirs).norm() <= 1e-5 * theirs.norm()


def test_bf16_under_autocast_stays_within_its_rounding_of_float32():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 64, 32, requires_grad=True), nn.Parameter(torch.randn(5000, 32) * 0.1)
    targets = torch.randint(5000, (2, 64))
    exact = torch.autograd.grad(linear_cross_entropy(x, weight, targets), (x, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(x, weight, targets)
    assert loss.dtype is torch.float32
    rounded = torch.autograd.grad(loss, (x, weight))
    for own, theirs in zip(rounded, exact, strict=True):
        assert own.dtype is torch.float32
        assert (own - theirs).norm() <= 2**-6 * theirs.norm()  # bf16 has 8 bits, and its errors add up in a product


@pytest.mark.parametrize(
    "recipe",
    [
        LLAMA,
        LLAMA.replace("head", None),
        pb.nn.looped(16, 1, 2, 2, d_ff=32),
        LLAMA.replace("head", pb.spec(nn.Linear)),
    ],
)
def test_model_loss_is_the_cross_entropy_of_the_logits(recipe):
    tokens, targets = draw()
    model = make(recipe)
    loss, expected = model_loss(model, tokens, targets), cross_entropy(model(tokens), targets)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_parameter_as_through_the_logits():
    tokens, targets = draw()
    model = make()
    model_loss(model, tokens, targets).backward()
    own = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    cross_entropy(model(tokens), targets).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(own[name], p.grad, rtol=1e-4, atol=1e-7)


class Capped(pb.nn.Transformer):
    def forward(self, tokens):
        return 5 * torch.tanh(super().forward(tokens) / 5)


def test_a_subclass_with_a_forward_of_its_own_is_scored_by_what_it_returns():
    tokens, targets = draw()
    model = make(pb.Spec(Capped, LLAMA.arguments))
    with torch.no_grad():
        model.embedding.weight *= 100
    assert find_unembedding(model) is None
    assert model_loss(model, tokens, targets).item() == cross_entropy(model(tokens), targets).item()


def test_models_of_both_kinds_agree_to_the_bit_where_all_logits_are_asked_for():
    tokens, targets = draw()
    with objective.whole_logits():
        assert model_loss(make(), tokens, targets).item() == cross_entropy(make()(tokens), targets).item()
    assert find_unembedding(make()) is not None


@pytest.mark.parametrize("watched", ["", "head"])
def test_hooks_on_the_model_or_its_head_see_the_logits(watched):
    model = make(LLAMA.replace("head", pb.spec(pb.nn.Linear)))
    assert find_unembedding(model) is model.head.weight
    seen = []
    handle = model.get_submodule(watched).register_forward_hook(lambda module, x, out: seen.append(out.shape))
    model_loss(model, *draw())
    assert seen == [(3, 7, 50)]
    handle.remove()
    assert find_unembedding(model) is model.head.weight


def test_no_step_holds_all_logits_of_a_large_vocabulary():
    model = build_model(pb.nn.llama(d_model=8, n_layers=1, n_heads=1), 0, vocab_size=40_000, seq_len=256)
    tokens, targets = draw(4, 256, 40_000)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        model_loss(model, tokens, targets).backward()
    assert max(sizes) < tokens.numel() * 40_000 / 100


class Tempered(pb.nn.Transformer):
    """A forward and features of its own, and the unembedding of its base."""

    def features(self, tokens):
        return super().features(tokens)

    def forward(self, tokens):
        return 3 * super().forward(tokens)


class Named(nn.Module):
    """A model of one's own that happens to have features."""

    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def features(self, tokens):
        return tokens

    def forward(self, tokens):
        return self.table(tokens)


@pytest.mark.parametrize("model", [pb.Spec(Tempered, LLAMA.arguments), pb.spec(Named)])
def test_the_three_names_count_only_where_one_class_gives_them_all(model):
    tokens, targets = draw()
    model = build_model(model, 0, vocab_size=50, seq_len=8)
    assert model_loss(model, tokens, targets).item() == cross_entropy(model(tokens), targets).item()


@pytest.mark.parametrize("watched", ["", "head"])
def test_backward_hooks_on_the_model_or_its_head_fire(watched):
    model = make(LLAMA.replace("head", pb.spec(pb.nn.Linear)))
    fired = []
    model.get_submodule(watched).register_full_backward_hook(lambda module, inputs, outputs: fired.append(watched))
    model_loss(model, *draw()).backward()
    assert fired == [watched]
