"""Transformer, blocks and recipes: what placement, tying and scales mean."""

import math

import pytest
import torch
from torch import nn

import paribus.nn as pn
from paribus.design.specs import Spec, spec
from paribus.errors import SpecError

TOKENS = torch.randint(61, (2, 16), generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class PlusOne(nn.Module):
    def forward(self, x):
        return x + 1


class Halve(nn.Module):
    def forward(self, x):
        return x / 2


class OneNorm(nn.Module):
    """A parallel block: one norm for both."""

    def __init__(self, d_model, norm=spec(pn.LayerNorm), mixer=spec(pn.Attention), mlp=spec(pn.MLP)):
        super().__init__()
        self.norm = pn.build(norm, "norm", d_model, slot="norm")
        self.mixer = pn.build(mixer, "mixer", d_model, slot="mixer")
        self.mlp = pn.build(mlp, "mlp", d_model, slot="mlp")

    def forward(self, x):
        y = self.norm(x)
        return x + self.mixer(y) + self.mlp(y)


class Bare(nn.Module):
    """A block without sites for norm and MLP."""

    def __init__(self, d_model, mixer=spec(pn.Attention)):
        super().__init__()
        self.mixer = pn.build(mixer, "mixer", d_model, slot="mixer")

    def forward(self, x):
        return x + self.mixer(x)


def make(recipe, seed=0):
    return pn.build_model(recipe, seed, vocab_size=61, seq_len=16)


def test_placements_on_numbers():
    x = torch.full((1, 1, 4), 8.0)
    halves = {"mixer_norm": spec(Halve), "mlp_norm": spec(Halve)}
    parts = {"mixer": spec(Twice), "mlp": spec(PlusOne)}
    # pre: 8 + 2(4) = 16, then 16 + (8 + 1) = 25
    assert pn.PreNorm(4, **parts, **halves)(x)[0, 0, 0].item() == 25.0
    # post: (8 + 16) / 2 = 12, then (12 + 13) / 2 = 12.5
    assert pn.PostNorm(4, **parts, **halves)(x)[0, 0, 0].item() == 12.5
    # sandwich: 8 + (2 * 4) / 2 = 12, then 12 + (6 + 1) / 2 = 15.5
    outer = {"mixer_out_norm": spec(Halve), "mlp_out_norm": spec(Halve)}
    assert pn.Sandwich(4, **parts, **halves, **outer)(x)[0, 0, 0].item() == 15.5


def test_pre_norm_without_norms_is_sandwich_without_norms():
    bare = {"norm": spec(pn.NoNorm)}
    pre = make(pn.llama(24, 2, 2, **bare))
    sandwich = make(pn.llama(24, 2, 2, block=spec(pn.Sandwich), **bare))
    assert torch.equal(pre(TOKENS), sandwich(TOKENS))


def test_tied_head_reads_the_embedding_and_untied_has_its_own():
    tied, untied = make(pn.llama(24, 1, 2)), make(pn.llama(24, 1, 2, tied=False))
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 61 * 24
    with torch.no_grad():
        untied.head.weight.copy_(untied.embedding.weight)
    torch.testing.assert_close(tied(TOKENS), untied(TOKENS))


def test_embedding_scale_multiplies_the_embedding():
    recipe = pn.llama(24, 1, 2)
    scaled = make(recipe.replace("embedding_scale", math.sqrt(24)))
    plain = make(pn.llama(24, 1, 2, tied=False))
    untied = make(pn.llama(24, 1, 2, tied=False).replace("embedding_scale", math.sqrt(24)))
    with torch.no_grad():
        plain.embedding.weight.mul_(math.sqrt(24))
    torch.testing.assert_close(untied(TOKENS), plain(TOKENS))
    assert not torch.allclose(scaled(TOKENS), make(recipe)(TOKENS))


def test_dropout_reaches_embeddings_blocks_and_mixers_and_rests_in_evaluation():
    model = make(pn.gpt2(24, 2, 2, dropout=0.25))
    assert model.dropout.p == model.blocks[1].dropout.p == model.blocks[1].mixer.dropout == 0.25
    assert not torch.equal(model.train()(TOKENS), model(TOKENS))
    assert torch.equal(model.eval()(TOKENS), make(pn.gpt2(24, 2, 2)).eval()(TOKENS))


def test_gpt2_divides_residual_projections_by_the_root_of_twice_the_layers():
    model = make(pn.gpt2(d_model=192, n_layers=8, n_heads=3))
    small = 0.02 / math.sqrt(16)
    for layer in (0, 7):
        for matrix in (model.blocks[layer].mixer.o, model.blocks[layer].mlp.down):
            assert matrix.weight.std().item() == pytest.approx(small, rel=0.03)
        assert model.blocks[layer].mixer.q.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert model.blocks[layer].mixer.q.bias.abs().max() == 0


def test_part_swapped_into_gpt2_keeps_the_recipes_initial_scale():
    model = make(pn.gpt2(d_model=192, n_layers=8, n_heads=3).replace("*.mlp", spec(pn.GatedMLP)))
    assert model.blocks[0].mlp.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)


@pytest.mark.parametrize("d_ff", [None, 40])
def test_parameters_of_both_recipes_follow_the_formula(d_ff):
    d, layers, v, t = 24, 3, 61, 16
    gated = d_ff or 64
    llama = v * d + layers * (4 * d * d + 3 * d * gated + 2 * d) + d
    assert sum(p.numel() for p in make(pn.llama(d, layers, 2, d_ff=d_ff)).parameters()) == llama
    f = d_ff or 4 * d
    gpt2 = v * d + t * d + layers * (4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d) + 2 * d
    assert sum(p.numel() for p in make(pn.gpt2(d, layers, 2, d_ff=d_ff)).parameters()) == gpt2


def test_recipes_return_specs_whose_parts_can_be_given():
    recipe = pn.llama(24, 2, 2, norm=spec(pn.ScaleNorm), mlp=spec(pn.MLP), mixer=spec(pn.Attention, window=4))
    assert isinstance(recipe, Spec)
    assert {recipe[path].cls for path in recipe.sites() if path.endswith("norm")} == {pn.ScaleNorm}
    assert recipe["blocks.1.mlp"].cls is pn.MLP
    assert recipe["blocks.1.mixer.window"] == 4


def test_norm_of_a_recipe_does_not_reach_into_the_given_mixer():
    recipe = pn.llama(24, 1, 2, norm=spec(pn.DyT), mixer=spec(pn.Attention, qk_norm=spec(pn.RMSNorm)))
    assert recipe["blocks.0.mixer.qk_norm"].cls is pn.RMSNorm
    assert recipe["blocks.0.mixer_norm"].cls is pn.DyT


def test_recipe_survives_json():
    recipe = pn.gpt2(24, 2, 2).replace("*.mixer.qk_norm", spec(pn.RMSNorm))
    assert Spec.from_json(recipe.to_json()).digest == recipe.digest


@pytest.mark.parametrize("recipe", [pn.llama(24, 1, 2), pn.hrm(24, 1, 1, 2), pn.looped(24, 1, 2, 2)])
def test_head_width_of_zero_is_refused_and_not_taken_for_the_default(recipe):
    with pytest.raises(SpecError, match="head_dim must be at least 1, got 0"):
        pn.build_model(recipe.replace("head_dim", 0), 0, vocab_size=61, seq_len=16)


def test_transformer_without_blocks_is_refused():
    with pytest.raises(SpecError, match="at least one block"):
        pn.Transformer(24, 2, blocks=(), vocab_size=61, seq_len=16)


def test_initial_loss_is_near_that_of_guessing():
    for recipe in (pn.gpt2(24, 2, 2), pn.llama(24, 2, 2)):
        targets = TOKENS.flip(1)  # unlike the input: a tied head starts by favouring what it reads
        loss = nn.functional.cross_entropy(make(recipe)(TOKENS).flatten(0, 1), targets.flatten())
        assert loss.item() == pytest.approx(math.log(61), abs=0.1)


def test_a_block_with_one_norm_is_filled_and_one_without_is_refused_with_what_works():
    assert pn.llama(24, 2, 2, block=spec(OneNorm))["blocks.1.norm"].cls is pn.RMSNorm
    with pytest.raises(SpecError, match=r"Bare has no spec as default of \*norm, mlp, .*replace\('blocks\.\*'"):
        pn.llama(24, 2, 2, block=spec(Bare))
    edited = pn.llama(24, 2, 2).replace("blocks.*", spec(Bare))
    assert [block.cls for block in edited["blocks"]] == [Bare, Bare]
    assert make(edited)(TOKENS).shape == (2, 16, 61)


@pytest.mark.parametrize(
    ("recipe", "arguments", "said"),
    [
        (pn.llama, {"n_kv_heads": 1, "mixer": spec(pn.Attention)}, "n_kv_heads=1 .* drop n_kv_heads"),
        (pn.llama, {"d_ff": 40, "mlp": spec(pn.MLP)}, r"d_ff=40 .* drop d_ff, .*mlp=spec\(MLP"),
        (pn.gpt2, {"d_ff": 40, "mlp": spec(pn.MLP)}, "drop d_ff"),
        (pn.llama, {"n_kv_heads": 0}, "n_kv_heads must be at least 1, got 0"),
        (pn.llama, {"d_ff": 0}, "d_ff must be at least 1, got 0"),
        (pn.gpt2, {"d_ff": -4}, "d_ff must be at least 1, got -4"),
        (pn.gpt2, {"n_layers": 0}, "n_layers must be at least 1, got 0"),
    ],
)
def test_arguments_that_a_recipe_would_drop_or_cannot_use_are_refused(recipe, arguments, said):
    with pytest.raises(SpecError, match=said):
        recipe(**{"d_model": 24, "n_layers": 2, "n_heads": 2, **arguments})


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"n_heads": "2"}, "n_heads must be a whole number, got '2'"),
        ({"d_model": 32.0}, "d_model must be a whole number, got 32.0"),
        ({"n_layers": True}, "n_layers must be a whole number, got True"),
        ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
    ],
)
def test_a_recipe_names_the_size_that_is_no_count(sizes, said):
    with pytest.raises(SpecError, match=said):
        pn.llama(**{"d_model": 32, "n_layers": 1, "n_heads": 2, **sizes})
