"""HRM and the looped transformer: updates, gradients, segments, recipes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import paribus.nn as pn
from paribus.design.specs import Spec, spec
from paribus.errors import SpecError
from paribus.training.cost import count_flops

V, T = 61, 8
TOKENS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(1))
MODES = (pn.one_step, pn.last_cycle, pn.full)


def make(recipe, seed=0, seq_len=T, device="cpu"):
    return pn.build_model(recipe, seed, vocab_size=V, seq_len=seq_len, device=device)


def small(**options):
    return pn.hrm(12, 2, 1, 2, **options)


def gradients(loss, model):
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return dict(zip(dict(model.named_parameters()), found, strict=True))


class Layers:
    """The pieces of an HRM, to be put together by hand."""

    def __init__(self, model):
        self.x = math.sqrt(12) * model.embedding(TOKENS)
        self.model = model
        self.low = model.low_start.value.expand_as(self.x)
        self.high = model.high_start.value.expand_as(self.x)

    def update_low(self):
        z = self.low + self.high + self.x
        for block in self.model.low:
            z = block(z)
        self.low = z

    def update_high(self):
        z = self.high + self.low
        for block in self.model.high:
            z = block(z)
        self.high = z

    def loss(self):
        logits = F.linear(self.model.final_norm(self.high), self.model.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), TARGETS.flatten())


def one_step_of_the_paper(model, n_cycles, n_steps):
    """Figure 4 of arXiv:2506.21734, line by line."""
    z = Layers(model)
    with torch.no_grad():
        for i in range(n_cycles * n_steps - 1):
            z.update_low()
            if (i + 1) % n_steps == 0:
                z.update_high()
    z.update_low()
    z.update_high()
    return z.loss()


def last_cycle_by_hand(model, n_cycles, n_steps):
    z = Layers(model)
    for cycle in range(n_cycles):
        if cycle == n_cycles - 1:
            z.low, z.high = z.low.detach(), z.high.detach()
        for _ in range(n_steps):
            z.update_low()
        z.update_high()
    return z.loss()


def full_by_hand(model, n_cycles, n_steps):
    z = Layers(model)
    for _ in range(n_cycles):
        for _ in range(n_steps):
            z.update_low()
        z.update_high()
    return z.loss()


@pytest.mark.parametrize(
    ("mode", "by_hand"),
    [(pn.one_step, one_step_of_the_paper), (pn.last_cycle, last_cycle_by_hand), (pn.full, full_by_hand)],
    ids=["one_step", "last_cycle", "full"],
)
@pytest.mark.parametrize(("n_cycles", "n_steps"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_loss_and_gradient_are_those_of_the_unrolled_loop(mode, by_hand, n_cycles, n_steps):
    model = make(small(n_cycles=n_cycles, n_steps=n_steps, gradient=mode)).double()
    expected, loss = by_hand(model, n_cycles, n_steps), model.loss(TOKENS, TARGETS)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(loss, model), gradients(expected, model), rtol=1e-9, atol=1e-12)


def test_modes_agree_on_the_loss_and_not_on_the_gradient():
    models = [make(small(n_cycles=2, n_steps=2, gradient=mode)).double() for mode in MODES]
    losses = [model.loss(TOKENS, TARGETS) for model in models]
    assert losses[0].item() == losses[1].item() == losses[2].item()
    one, last, full = (
        gradients(loss, model)["low.0.mixer.q.weight"] for loss, model in zip(losses, models, strict=True)
    )
    assert not torch.allclose(one, last) and not torch.allclose(last, full)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("bf16", [False, True])
def test_every_parameter_gets_a_gradient(mode, bf16):
    """Under autocast too, where a weight that was cast without gradient could be used again."""
    model = make(small(gradient=mode, n_segments=2))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = model.loss(TOKENS, TARGETS)
    dead = [name for name, g in gradients(loss, model).items() if g is None or not g.any()]
    assert dead == []


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.sampled_from(MODES))
def test_loss_is_the_mean_of_what_shorter_runs_of_segments_lose(n_cycles, n_steps, n_segments, mode):
    options = {"n_cycles": n_cycles, "n_steps": n_steps, "gradient": mode}
    losses = []
    for n in range(1, n_segments + 1):
        logits = make(small(**options, n_segments=n))(TOKENS)
        losses.append(F.cross_entropy(logits.flatten(0, 1), TARGETS.flatten()).item())
    model = make(small(**options, n_segments=n_segments))
    assert model.loss(TOKENS, TARGETS).item() == pytest.approx(sum(losses) / n_segments, rel=1e-6)


def test_a_segment_sends_no_gradient_into_the_one_before():
    model = make(small(n_segments=2, gradient=pn.full)).double()
    first = Layers(model)
    for _ in range(2):
        first.update_low()
        first.update_low()
        first.update_high()
    second = Layers(model)
    second.low, second.high = first.low.detach(), first.high.detach()
    for _ in range(2):
        second.update_low()
        second.update_low()
        second.update_high()
    expected = (first.loss() + second.loss()) / 2
    torch.testing.assert_close(
        gradients(model.loss(TOKENS, TARGETS), model), gradients(expected, model), rtol=1e-9, atol=1e-12
    )


def test_start_is_a_truncated_normal_of_variance_one_drawn_once_and_never_trained():
    model, again, other = (make(pn.hrm(1500, 1, 1, 2, d_ff=8), seed=seed) for seed in (0, 0, 1))
    low, high = model.low_start.value, model.high_start.value
    assert torch.equal(low, again.low_start.value) and not torch.equal(low, other.low_start.value)
    assert not torch.equal(low, high)
    assert {"low_start.value", "high_start.value"} <= model.state_dict().keys()
    assert not any("start" in name for name, _ in model.named_parameters())
    cut = stats.truncnorm(-2, 2, scale=1 / stats.truncnorm(-2, 2).std())
    for start in (low, high):
        assert start.abs().max() <= cut.support()[1] + 1e-5
        assert stats.kstest(start.numpy(), cut.cdf).pvalue > 1e-3


class TellsItsPlace(nn.Module):
    """A block that reads the ids and says which layer it is."""

    def __init__(self, d_model, layer, n_layers, vocab_size, tokens):
        super().__init__()
        self.rows = pn.Embedding(vocab_size, d_model)
        self.place, self.tokens = (layer, n_layers), tokens

    def forward(self, x):
        return x + self.rows(self.tokens.ids)


def test_blocks_are_counted_low_then_high_and_see_the_ids_of_their_own_model():
    block = spec(TellsItsPlace)
    model = make(spec(pn.HRM, d_model=12, n_heads=2, low=(block, block), high=(block,)))
    assert [b.place for b in (*model.low, *model.high)] == [(0, 3), (1, 3), (2, 3)]
    twin = copy.deepcopy(model)
    model(TOKENS)
    twin(TARGETS)
    assert torch.equal(model.high[0].tokens.ids, TOKENS) and torch.equal(twin.low[0].tokens.ids, TARGETS)


@pytest.mark.parametrize(
    "recipe",
    [*(small(gradient=mode) for mode in MODES), pn.looped(12, 1, 2, 2), pn.llama(12, 2, 2, mixer=spec(pn.HyperMixer))],
    ids=[*(mode.__name__ for mode in MODES), "looped", "hypermixer"],
)
def test_few_steps_learn_a_batch_by_heart(recipe):
    model = make(recipe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        logits = model(TOKENS)
        loss = F.cross_entropy(logits.flatten(0, 1), TARGETS.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * math.log(V)


def test_position_that_embeds_is_added_once_to_what_every_low_update_reads():
    model = make(small(position=spec(pn.Learned), n_cycles=1, n_steps=1))
    by_hand = Layers(model)
    by_hand.x = by_hand.x + model.position.table.weight
    by_hand.update_low()
    by_hand.update_high()
    torch.testing.assert_close(model.loss(TOKENS, TARGETS), by_hand.loss())


def test_looped_transformer_that_loops_once_is_the_transformer_to_the_bit():
    plain, looped = make(pn.llama(12, 2, 2)), make(pn.looped(12, 2, 1, 2))
    assert plain.state_dict().keys() == looped.state_dict().keys()
    assert torch.equal(plain(TOKENS), looped(TOKENS))


def test_looped_transformer_is_a_deeper_one_whose_layers_are_copies():
    looped, deep = make(pn.looped(12, 2, 3, 2)), make(pn.llama(12, 6, 2))
    weights = looped.state_dict()
    for name in [name for name in weights if name.startswith("blocks.")]:
        _, layer, rest = name.split(".", 2)
        weights.update({f"blocks.{int(layer) + 2 * loop}.{rest}": weights[name] for loop in (1, 2)})
    deep.load_state_dict(weights)
    assert torch.equal(looped(TOKENS), deep(TOKENS))
    shared = gradients(looped(TOKENS).square().mean(), looped)["blocks.1.mlp.up.weight"]
    copies = gradients(deep(TOKENS).square().mean(), deep)
    torch.testing.assert_close(shared, sum(copies[f"blocks.{layer}.mlp.up.weight"] for layer in (1, 3, 5)))


def test_injected_input_is_added_before_every_loop_but_the_first():
    model = make(pn.looped(12, 1, 3, 2, inject=pn.add_input))
    x = start = model.embedding(TOKENS)
    (block,) = model.blocks
    x = block(block(block(x) + start) + start)
    torch.testing.assert_close(model(TOKENS), F.linear(model.final_norm(x), model.embedding.weight))


def test_recipes_have_the_parameters_of_the_llama_with_as_many_layers():
    def count(recipe):
        return sum(p.numel() for p in make(recipe).parameters())

    assert count(pn.looped(12, 4, 3, 2)) == count(pn.llama(12, 4, 2))
    assert count(pn.hrm(12, 3, 1, 2)) == count(pn.llama(12, 4, 2)) - 12  # the gain of the final norm
    assert count(pn.hrm(12, 3, 1, 2, final_norm=spec(pn.RMSNorm))) == count(pn.llama(12, 4, 2))


def test_recurrent_models_share_their_embedding_with_the_llama_of_their_seed():
    plain = make(pn.llama(12, 3, 2), seed=5)
    for recipe in (small(), pn.looped(12, 3, 2, 2)):
        assert torch.equal(make(recipe, seed=5).embedding.weight, plain.embedding.weight)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_forward_operations_are_those_of_the_layers_that_are_applied(device):
    def flops(recipe):
        return count_flops(make(recipe, device=device), T, device)["forward_flops_per_token"]

    one, two = flops(pn.llama(12, 1, 2)), flops(pn.llama(12, 2, 2))
    layer, around = two - one, 2 * one - two
    assert flops(pn.looped(12, 2, 3, 2)) == around + 6 * layer
    # two segments of 2 * 3 low updates of 2 layers and 2 high ones of 1
    assert flops(pn.hrm(12, 2, 1, 2, n_cycles=2, n_steps=3, n_segments=2)) == around + 2 * (12 + 2) * layer


def test_recipes_survive_json_and_can_be_edited():
    for recipe in (small(gradient=pn.full), pn.looped(12, 2, 2, 2, inject=pn.add_input)):
        assert Spec.from_json(recipe.to_json()).digest == recipe.digest
    edited = small().replace("*.mixer", spec(pn.HyperMixer)).replace("gradient", pn.last_cycle)
    assert {edited[f"{path}.mixer"].cls for path in ("low.0", "low.1", "high.0")} == {pn.HyperMixer}
    assert make(edited)(TOKENS).shape == (2, T, V)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: make(small().replace("low", ())), "at least one low and one high block, got 0 and 1"),
        (lambda: make(small(n_steps=0, n_segments=0)), "at least 1 of each, got n_steps=0, n_segments=0"),
        (lambda: make(small(gradient=keep_none)), "gradient keeps 0 of 4 updates"),
        (lambda: make(pn.looped(12, 1, 1, 2).replace("n_loops", 0)), "n_loops must be at least 1, got 0"),
        (lambda: pn.looped(12, 1, 0, 2), "n_loops must be at least 1, got 0"),
        (lambda: pn.hrm(12, 0, 1, 2), "n_low must be at least 1, got 0"),
        (lambda: pn.hrm(12, 1, 1, 2, d_ff=8, mlp=spec(pn.MLP)), "drop d_ff"),
    ],
)
def test_models_that_cannot_be_are_refused(build, said):
    with pytest.raises(SpecError, match=said):
        build()


def keep_none(n_cycles, n_steps):
    return 0
