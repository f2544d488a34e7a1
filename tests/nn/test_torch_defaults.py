"""Weights that torch drew by default are known, and drawn as the model's own parts; what was meant stays."""

import math

import pytest
import torch
from torch import nn

import paribus as pb
from paribus.design.specs import Spec, initialized, spec
from paribus.errors import SpecError
from paribus.nn.contract import build_model

D = 32
BASE = pb.nn.llama(d_model=D, n_layers=2, n_heads=2).replace("init_std", 0.05)


class Untouched(nn.Module):
    def __init__(self, dim, times=4):
        super().__init__()
        self.up, self.down = nn.Linear(dim, times * dim), nn.Linear(times * dim, dim, bias=False)
        self.table = nn.Embedding(7, dim)

    def forward(self, x):
        return self.down(self.up(x).relu())


class Meant(Untouched):
    """Every weight is chosen, each in another common way."""

    def __init__(self, dim):
        super().__init__(dim)
        self.raw = nn.Parameter(torch.randn(dim, dim))
        nn.init.xavier_uniform_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.down.weight.data.mul_(0.5)
        self.table.weight = nn.Parameter(torch.full((7, dim), 0.25))


class MeantLater(Untouched):
    def reset_parameters(self):
        for layer in (self.up, self.down):
            nn.init.orthogonal_(layer.weight)
        nn.init.kaiming_uniform_(self.up.weight, a=math.sqrt(5))  # torch's own rule, but called on purpose
        nn.init.normal_(self.up.bias)
        nn.init.normal_(self.table.weight)


class Inner(nn.Module):
    """A composite around a part of its own: each starts as its own spec says."""

    def __init__(self, dim, mlp):
        super().__init__()
        self.before = nn.Linear(dim, dim, bias=False)
        self.mlp = pb.nn.build(mlp, "mlp", dim, slot="mlp")

    def forward(self, x):
        return self.mlp(self.before(x))


def mlp_of(part, seed=0):
    model = build_model(BASE.replace("*.mlp", part), seed, vocab_size=16, seq_len=8)
    return model.get_submodule("blocks.1.mlp")


def test_plain_layers_are_drawn_at_the_models_scale_and_biases_are_zero():
    part = mlp_of(initialized(spec(Untouched)))
    for weight in (part.up.weight, part.down.weight):
        assert weight.std().item() == pytest.approx(0.05, rel=0.05)
        assert weight.abs().max() > 3 * 0.05  # normal; a uniform of that width ends at sqrt(3) of it
    assert part.table.weight.std().item() == pytest.approx(0.05, rel=0.15)
    assert part.up.bias.abs().max() == 0


def test_a_tensor_depends_on_its_seed_its_path_and_its_shape_alone():
    class Other(Untouched):
        def __init__(self, dim):
            self.extra = None
            super().__init__(dim)
            self.extra = nn.Linear(dim, 3)

    one, other = mlp_of(initialized(spec(Untouched))), mlp_of(initialized(spec(Other)))
    assert torch.equal(one.down.weight, other.down.weight)
    assert not torch.equal(one.down.weight, mlp_of(initialized(spec(Untouched)), seed=1).down.weight)
    assert not torch.equal(one.down.weight.flatten()[:64], one.up.weight.flatten()[:64])


@pytest.mark.parametrize("cls", [Meant, MeantLater])
def test_what_a_class_initializes_itself_stays(cls):
    plain, drawn = mlp_of(spec(cls)), mlp_of(initialized(spec(cls)))
    assert all(torch.equal(p, drawn.get_parameter(name)) for name, p in plain.named_parameters())


def test_a_spec_is_initialized_for_itself_and_not_for_what_it_holds():
    part = mlp_of(initialized(spec(Inner, mlp=spec(Untouched))))
    assert part.before.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert part.mlp.down.weight.std().item() == pytest.approx(1 / math.sqrt(3 * 4 * D), rel=0.05)
    inner = mlp_of(spec(Inner, mlp=initialized(spec(Untouched))))
    assert inner.before.weight.std().item() == pytest.approx(1 / math.sqrt(3 * D), rel=0.1)
    assert inner.mlp.down.weight.std().item() == pytest.approx(0.05, rel=0.05)


def test_parts_of_paribus_and_the_rest_of_the_model_start_as_before():
    plain = build_model(BASE, 0, vocab_size=16, seq_len=8)
    drawn = build_model(BASE.replace("*.mlp", initialized(BASE["blocks.0.mlp"])), 0, vocab_size=16, seq_len=8)
    assert all(torch.equal(p, drawn.get_parameter(name)) for name, p in plain.named_parameters())


def test_it_is_data_that_survives_json_edits_and_shows_as_a_difference():
    plain, drawn = BASE.replace("*.mlp", spec(Untouched)), BASE.replace("*.mlp", initialized(spec(Untouched)))
    assert Spec.from_json(drawn.to_json()) == drawn
    assert drawn.digest != plain.digest
    assert [str(change) for change in plain.diff(drawn)] == [
        f"blocks.{i}.mlp: Untouched() -> initialized(Untouched())" for i in range(2)
    ]
    edited = drawn.replace("blocks.0.mlp.times", 2)
    assert edited["blocks.0.mlp"] == initialized(spec(Untouched, times=2))


def test_anything_but_a_spec_is_refused_with_what_to_write():
    with pytest.raises(SpecError, match=r"write initialized\(spec\(Untouched\)\)"):
        initialized(Untouched)
