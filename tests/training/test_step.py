import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paribus.data.held_out import HeldOut
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.streams import derive
from paribus.training.loop import train
from paribus.training.schedule import build_schedule
from paribus.training.step import Stepper, start_training

V, T = 11, 4
ROLES = {"table.weight": "embedding", "head.weight": "head"}


class Net(nn.Module):
    """Next-token logits with noise, an auxiliary loss and something to do after a step."""

    def __init__(self, dropout=0.2):
        super().__init__()
        self.table, self.drop, self.head = nn.Embedding(V, 8), nn.Dropout(dropout), nn.Linear(8, V, bias=False)

    def forward(self, tokens):
        return self.head(self.drop(self.table(tokens)))

    def aux(self):
        return {"size": 0.1 * self.table.weight.square().mean()}

    def after_step(self):
        self.head.weight.data *= 0.999


def make(**arguments):
    torch.manual_seed(0)
    return Net(**arguments)


def batch(step):
    tokens = np.random.default_rng(step).integers(0, V, (4, T + 1))
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def tensors(step):
    return map(torch.from_numpy, batch(step))


RECIPE = Training(
    tokens=6 * 4 * T,
    batch_tokens=4 * T,
    micro_batch_tokens=2 * T,
    seq_len=T,
    optimizer=spec(torch.optim.SGD, lr=0.5, momentum=0.9),
    clip=0.2,
    evaluations=1,
)


def test_the_loop_is_repeated_steps_to_the_bit(tmp_path):
    looped, stepped = make(), make()
    scored = HeldOut(*batch(99), np.zeros((4, T), dtype=int), None)
    lines = train(looped, RECIPE, seed=5, roles=ROLES, batch=batch, held_out=scored, folder=tmp_path).steps
    stepper, rate_of = start_training(stepped, RECIPE, ROLES), build_schedule(RECIPE)
    for step, line in enumerate(lines):
        stepper.begin(derive(5, "noise", step), rate_of(step))
        gradients = stepper.compute_gradients(*tensors(step))
        assert (gradients.loss, gradients.auxiliary, gradients.norm) == (
            line["loss"],
            line["auxiliary_loss"],
            line["gradient_norm"],
        )
        stepper.apply_gradients()
    for name, value in looped.state_dict().items():
        assert torch.equal(value, stepped.state_dict()[name]), name


def test_a_step_is_the_one_that_torch_takes_when_it_is_written_out():
    model, reference = make(dropout=0.0), make(dropout=0.0)
    stepper = Stepper(model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), windows=2, clip=0.2)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.5, momentum=0.9)
    for step, rate in enumerate((1.0, 0.5, 0.25)):
        stepper.begin(noise=step, rate=rate)
        inputs, targets = tensors(step)
        gradients = stepper.compute_gradients(inputs, targets)
        stepper.apply_gradients()

        loss = F.cross_entropy(reference(inputs).flatten(0, 1), targets.flatten())  # all rows at once
        (loss + 0.1 * reference.table.weight.square().mean()).backward()
        norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.2)
        optimizer.param_groups[0]["lr"] = 0.5 * rate
        optimizer.step()
        optimizer.zero_grad()
        reference.after_step()
        assert gradients.loss == pytest.approx(loss.item(), rel=1e-5)
        assert gradients.norm == pytest.approx(norm.item(), rel=1e-4)
        for name, value in reference.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_without_a_limit_the_gradient_stays_as_it_is_and_its_norm_is_measured():
    model = make(dropout=0.0)
    gradients = Stepper(model, torch.optim.SGD(model.parameters()), windows=4).compute_gradients(*tensors(0))
    norm = sum(p.grad.square().sum() for p in model.parameters()).sqrt().item()
    assert gradients.norm == pytest.approx(norm, rel=1e-5)


def test_gradients_are_not_finite_where_the_loss_or_the_norm_is_not():
    model = make(dropout=0.0)
    stepper = Stepper(model, torch.optim.SGD(model.parameters()), windows=4)
    assert stepper.compute_gradients(*tensors(0)).is_finite
    model.table.weight.data[:] = torch.inf
    assert not stepper.compute_gradients(*tensors(0)).is_finite


def test_a_step_beyond_the_recipe_has_the_rate_of_its_last_step():
    rate_of = build_schedule(RECIPE)
    assert rate_of(RECIPE.steps + 7) == rate_of(RECIPE.steps - 1) != rate_of(RECIPE.steps - 2)
