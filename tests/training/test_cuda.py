"""Training on a CUDA device, against the same training on a CPU."""

import itertools

import numpy as np
import pytest
import torch

from paribus import nn as parts
from paribus.data.held_out import HeldOut
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.execution.trained import deterministic
from paribus.nn import build_model
from paribus.training import MuonAdamW
from paribus.training.loop import Interrupted, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

V, T = 64, 16
MODELS = {
    "transformer": parts.llama(32, 2, 2),
    "experts": parts.mixtral(32, 2, 2, n_experts=4),
    "latent attention": parts.llama(32, 2, 2, mixer=spec(parts.LatentAttention, rope_dim=16)),
}


def batch(step, rows=4):
    tokens = np.random.default_rng(step).integers(0, V, (rows, T + 1))
    return tokens[:, :-1], tokens[:, 1:]


def run(folder, model, device="cuda", stop=lambda: False, **changes):
    """Losses of the steps and of the evaluations, and the trained weights."""
    built = build_model(model, 0, vocab_size=V, seq_len=T)
    training = Training(
        tokens=8 * 4 * T,
        batch_tokens=4 * T,
        micro_batch_tokens=2 * T,
        seq_len=T,
        optimizer=spec(torch.optim.AdamW, lr=0.003),
        evaluations=2,
    ).replace(**changes)
    inputs, targets = batch(10**6, 3)
    held_out = HeldOut(inputs, targets, np.zeros((3, T), dtype=int), window_bytes=None)
    how = {"seed": 0, "roles": parts.roles(built), "batch": batch, "held_out": held_out, "device": device, "stop": stop}
    with deterministic(device):
        trained = train(built, training, folder=folder, **how)
    losses = [line["loss"] for line in trained.steps] + [entry["loss"] for entry in trained.evaluations]
    return losses, {name: value.cpu() for name, value in built.state_dict().items()}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_losses_are_those_of_the_cpu(tmp_path, model):
    losses, _ = run(tmp_path / "cuda", model)
    expected, _ = run(tmp_path / "cpu", model, device="cpu")
    assert losses == pytest.approx(expected, rel=1e-3)  # a rounding may send a token to another expert


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"optimizer": spec(MuonAdamW, lr=0.003, adamw_lr=0.003)}])
def test_losses_in_bf16_are_those_of_fp32_up_to_its_rounding(tmp_path, changes):
    losses, _ = run(tmp_path / "cuda", MODELS["transformer"], **changes)  # Muon iterates in bf16 on a GPU
    expected, _ = run(tmp_path / "cpu", MODELS["transformer"], device="cpu", **changes | {"precision": "fp32"})
    assert losses == pytest.approx(expected, rel=2**-6)


def test_compiled_losses_are_those_of_the_parts_as_written(tmp_path):
    losses, _ = run(tmp_path / "compiled", MODELS["transformer"], compile=True)
    expected, _ = run(tmp_path / "written", MODELS["transformer"])
    assert losses == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_resumed_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path, model):
    whole = run(tmp_path / "whole", model)
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", model, stop=lambda: next(asked) == 3)
    losses, weights = run(tmp_path / "cut", model)
    assert losses == whole[0]
    for name, value in whole[1].items():
        assert torch.equal(value, weights[name]), name
