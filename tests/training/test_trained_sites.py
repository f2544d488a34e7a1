import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paribus.training.trained_sites import measure_sites

V, T = 7, 4
BATCH = np.arange(2 * T).reshape(2, T) % V, (np.arange(2 * T).reshape(2, T) + 1) % V


class Doubled(nn.Module):
    """Applied twice, to x and to 3 x."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Identity()

    def forward(self, x):
        return self.twice(x) + self.twice(3 * x)


class Model(nn.Module):
    """Logits from a table of ones; ``norm`` moves its running mean in training mode, ``frozen`` is not trained."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.ones(V, 2), freeze=False)
        self.twofold = Doubled()
        self.norm = nn.BatchNorm1d(T)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(2, V, bias=False)
        self.frozen = nn.Linear(2, 2)
        self.frozen.requires_grad_(False)
        self.silent = nn.Linear(2, 2, bias=False)

    def forward(self, tokens):
        x = self.twofold(self.table(tokens))
        return self.head(self.drop(x + 0 * self.norm(x)) + self.frozen(x))

    def aux(self):
        return {"size": 5 * self.silent.weight.sum()}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


def measure(model, *paths, **options):
    return measure_sites(model, paths, BATCH, seed=3, **options)


def test_the_output_of_a_part_that_runs_twice_is_averaged_over_both(model):
    # Ones, and then threes: sqrt((1 + 9) / 2).
    assert measure(model, "twofold.twice")["twofold.twice"] == {"output_rms": pytest.approx(math.sqrt(5))}


def test_gradients_are_root_mean_squares_of_the_loss_with_its_auxiliary_terms(model):
    # The auxiliary term's gradient is 5 in every entry, and the loss has none there.
    assert measure(model, "silent")["silent"] == {"gradient_rms": pytest.approx(5.0), "unmoved": 0.0}


def test_a_gradient_agrees_with_one_that_is_worked_out_by_hand(model):
    model.drop.p = 0.0
    found = measure(model, "head")["head"]["gradient_rms"]
    x = 4 * torch.ones(2 * T, 2)  # x + 3 x
    x = x + model.frozen(x)
    probabilities = (x @ model.head.weight.T).softmax(-1)
    target = F.one_hot(torch.from_numpy(BATCH[1]).flatten(), V)
    gradient = (probabilities - target).T @ x / (2 * T)
    assert found == pytest.approx(gradient.square().mean().sqrt().item(), rel=1e-5)


def test_unmoved_is_the_share_of_trainable_parameters_in_the_tensors_named(model):
    found = measure(model, "", "head", "frozen", unmoved=["head.weight", "frozen.weight"])
    assert found["head"]["unmoved"] == 1.0
    # 14 of the head; table 14, silent 4, batch norm 2 * 4.
    assert found[""]["unmoved"] == pytest.approx(14 / (14 + 14 + 4 + 8))
    assert set(found["frozen"]) == {"output_rms"}


def test_nothing_is_moved_in_the_model_or_in_the_generator(model):
    model.eval()
    model.head.weight.grad = torch.full_like(model.head.weight, 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    measure(model, "", "norm")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert (model.head.weight.grad == 7).all() and model.table.weight.grad is None
    assert not model.norm._forward_hooks


def test_noise_comes_from_a_stream_of_its_own(model):
    torch.manual_seed(1)
    first = measure(model, "", "drop")
    torch.manual_seed(2)
    assert measure(model, "", "drop") == first


def test_a_part_that_hands_back_no_tensor_has_no_output():
    class Pair(nn.Module):
        def forward(self, x):
            return {"x": x}

    class Outer(Model):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, tokens):
            self.pair(tokens)
            return super().forward(tokens)

    torch.manual_seed(0)
    assert measure(Outer(), "pair") == {"pair": {}}
