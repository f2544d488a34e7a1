"""Compiled blocks. torch compiles with the system's C++ compiler; the tests that do need one."""

import copy
import itertools
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from paribus import nn as parts
from paribus.data.held_out import HeldOut
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.errors import TrainingError
from paribus.training import compilation
from paribus.training.compilation import Compiled, compile_blocks, in_place_of
from paribus.training.loop import Interrupted, train
from paribus.training.step import accumulate_gradients

needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler here")

V, T = 11, 4
EXPERTS = spec(
    parts.MoE,
    n_experts=4,
    experts=spec(parts.Experts, d_ff=8, dropout=0.2),
    losses=(spec(parts.LoadBalance, weight=0.01),),
)


def batch(step):
    tokens = np.random.default_rng(step).integers(0, V, (4, T + 1))
    return tokens[:, :-1], tokens[:, 1:]


def run(folder, mlp, compiled, **options):
    model = parts.build_model(parts.llama(8, 2, 2, mlp=mlp, dropout=0.2), 0, vocab_size=V, seq_len=T)
    training = Training(
        tokens=8 * 4 * T,
        batch_tokens=4 * T,
        seq_len=T,
        optimizer=spec(torch.optim.AdamW, lr=0.05),
        evaluations=2,
        compile=compiled,
    )
    inputs, targets = batch(10**6)
    held_out = HeldOut(inputs, targets, np.zeros((4, T), dtype=int), window_bytes=None)
    trained = train(
        model, training, seed=0, roles=parts.roles(model), batch=batch, held_out=held_out, folder=folder, **options
    )
    return model, trained


def losses(trained):
    return [line["loss"] for line in trained.steps] + [entry["loss"] for entry in trained.evaluations]


@needs_compiler
@pytest.mark.parametrize("mlp", [None, EXPERTS], ids=["dense", "experts"])
def test_a_compiled_run_is_the_run_as_written_and_compiles_once(tmp_path, mlp):
    before = counters["stats"]["unique_graphs"]
    _, written = run(tmp_path / "written", mlp, compiled=False)
    assert counters["stats"]["unique_graphs"] == before
    model, whole = run(tmp_path / "whole", mlp, compiled=True)
    compiled = counters["stats"]["unique_graphs"]
    assert compiled > before
    assert losses(whole) == pytest.approx(losses(written), rel=1e-5)  # dropout draws what it draws as written
    assert not any("forward" in vars(part) for part in model.modules())

    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", mlp, compiled=True, stop=lambda: next(asked) == 3)
    resumed_model, resumed = run(tmp_path / "cut", mlp, compiled=True)
    assert losses(resumed) == losses(whole)
    for name, value in model.state_dict().items():
        assert torch.equal(value, resumed_model.state_dict()[name]), name
    assert counters["stats"]["unique_graphs"] == compiled


@needs_compiler
def test_compiled_gradients_in_bf16_have_the_roundings_of_the_parts_as_written():
    inputs, targets = (torch.from_numpy(side) for side in batch(0))

    def gradients(compiled):
        model = parts.build_model(parts.llama(8, 2, 2), 0, vocab_size=V, seq_len=T)
        with in_place_of(compile_blocks(model) if compiled else None):
            accumulate_gradients(model, inputs, targets, len(inputs), precision="bf16")
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    torch.testing.assert_close(gradients(True), gradients(False), rtol=1e-5, atol=1e-6)


class Counting(nn.Module):
    """Multiplies by a number that is another in every call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


@needs_compiler
def test_a_model_that_every_step_compiles_is_refused(monkeypatch):
    monkeypatch.setattr(compilation, "_MOST_COMPILING_STEPS", 2)
    model = Counting()
    compiled = compile_blocks(model)
    with pytest.raises(TrainingError, match=r"3 steps had to compile.*compile=False"):
        for _ in range(4):
            with in_place_of(compiled):
                model(torch.ones(3))
    assert model.calls == 3
    assert "forward" not in vars(model)


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.inner, self.factor = nn.Identity(), factor

    def forward(self, x):
        return self.factor * self.inner(x)


def call(model, compiled):
    with in_place_of(compiled):
        return model(torch.ones(())).item()


@needs_compiler
def test_what_other_models_compiled_decides_nothing(monkeypatch):
    monkeypatch.setattr(compilation, "_MOST_VARIANTS", 2)
    for factor in (2.0, 3.0, 5.0, 7.0):
        model = Scaled(factor)
        assert call(model, compile_blocks(model)) == factor
    hooked = Scaled(7.0)
    hooked.inner.register_forward_hook(lambda module, inputs, output: 10 * output)
    assert call(hooked, compile_blocks(hooked)) == 70
    compiled = compile_blocks(model)
    assert call(model, compiled) == 7
    model.inner.register_forward_hook(lambda module, inputs, output: 10 * output)
    assert call(model, compiled) == 70


class Learner(nn.Module):
    """Keeps a copy of its block from its first step."""

    def __init__(self):
        super().__init__()
        self.block, self.teachers = Weighted(), []

    def forward(self, x):
        if not self.teachers:
            self.teachers.append(copy.deepcopy(self.block))
        return self.block(x) - self.teachers[0](x)


class Weighted(nn.Module):
    paribus_slot = "block"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * x


@needs_compiler
def test_a_copy_that_a_step_makes_has_weights_of_its_own():
    model = Learner()
    compiled = compile_blocks(model)
    assert call(model, compiled) == 0
    with torch.no_grad():
        model.block.weight.fill_(5)
    assert call(model, compiled) == 4


def test_a_forward_that_an_instance_had_of_its_own_comes_back():
    plain, own = Scaled(2), Scaled(2)
    own.forward = tripled = lambda x: 3 * x
    with in_place_of(Compiled({plain: lambda x: 5 * x, own: lambda x: 7 * x})):
        assert (plain(1), own(1)) == (5, 7)
    assert (plain(1), own(1)) == (2, 3)
    assert vars(own)["forward"] is tripled
    with pytest.raises(ZeroDivisionError), in_place_of(Compiled({plain: lambda x: x / 0})):
        plain(1)
    assert plain(1) == 2


class WithOwnLoss(Scaled):
    def loss(self, tokens, targets):
        return self.factor * (tokens - targets)


def test_what_is_compiled_is_the_blocks_or_a_model_without_any():
    model = parts.build_model(parts.llama(8, 2, 2, mlp=EXPERTS), 0, vocab_size=V, seq_len=T)
    assert set(compile_blocks(model).forwards) == {*model.blocks, *(block.mlp for block in model.blocks)}
    alone = Scaled(2)
    assert set(compile_blocks(alone).forwards) == {alone}
    with pytest.raises(TrainingError, match="WithOwnLoss has no blocks"):
        compile_blocks(WithOwnLoss(2))
