"""Parts that take turns over depth."""

import pytest
import torch

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError

LOCAL, FULL = spec(pn.Attention, window=4), spec(pn.Attention)
MLPS = (spec(pn.MLP, d_ff=32), spec(pn.GatedMLP, d_ff=24), spec(pn.GatedMLP, d_ff=40))
BLOCKS = (spec(pn.PreNorm), spec(pn.Sandwich))


@pytest.mark.parametrize("recipe", [pn.gpt2, pn.llama])
@pytest.mark.parametrize(("site", "part"), [("mixer", LOCAL), ("mlp", MLPS[0]), ("block", BLOCKS[1])])
def test_a_tuple_of_one_is_the_part_itself(recipe, site, part):
    assert recipe(24, 3, 2, **{site: (part,)}) == recipe(24, 3, 2, **{site: part})


def test_layer_i_has_entry_i_modulo_the_period_and_the_last_period_may_be_cut():
    blocks = pn.llama(24, 7, 2, mixer=(LOCAL, FULL), mlp=MLPS, block=BLOCKS)["blocks"]
    for layer, block in enumerate(blocks):
        assert block.cls is (pn.PreNorm, pn.Sandwich)[layer % 2]
        assert block["mixer"] == (LOCAL, FULL)[layer % 2]
        assert block["mlp"] == MLPS[layer % 3]
        assert block["mlp_norm"] == spec(pn.RMSNorm)


def test_every_recipe_with_blocks_tiles_them():
    def classes(blocks):
        return [block.cls for block in blocks]

    pre, sandwich = pn.PreNorm, pn.Sandwich
    assert classes(pn.mixtral(24, 3, 2, block=BLOCKS)["blocks"]) == [pre, sandwich, pre]
    deep = pn.deepseek_v3(24, 3, 2, block=BLOCKS)["blocks"]
    assert classes(deep) == [pre, sandwich, pre]
    assert [block["mlp"].cls for block in deep] == [pn.GatedMLP, pn.MoE, pn.MoE]
    both = pn.hrm(24, 2, 3, 2, block=(spec(pn.PostNorm), spec(pn.PreNorm)))
    post = pn.PostNorm
    assert (classes(both["low"]), classes(both["high"])) == ([post, pre], [post, pre, post])
    assert classes(pn.looped(24, 2, 2, 2, block=BLOCKS)["blocks"]) == [pre, sandwich]


def test_the_difference_to_the_plain_model_is_at_the_changed_layers_alone():
    plain = pn.llama(24, 5, 2)
    changed = [change.path for change in plain.diff(pn.llama(24, 5, 2, mixer=(FULL, LOCAL)))]
    assert changed == ["blocks.1.mixer.window", "blocks.3.mixer.window"]


@pytest.mark.parametrize("other", [spec(pn.HyperMixer, d_hidden=8), spec(pn.LinearAttention)])
def test_a_hybrid_builds_is_causal_and_every_part_of_it_works(other):
    recipe = pn.llama(24, 3, 2, mixer=(other, FULL), position=spec(pn.NoPosition))
    model = pn.build_model(recipe, 0, vocab_size=61, seq_len=16).double().eval()
    assert [type(block.mixer) for block in model.blocks] == [other.cls, pn.Attention, other.cls]
    tokens = torch.randint(61, (1, 16), generator=torch.Generator().manual_seed(0))
    later = tokens.clone()
    later[0, 9:] = (later[0, 9:] + 1) % 61
    moved = (model(tokens) - model(later)).abs().amax(-1)[0]  # (T)
    assert moved[:9].max() < 1e-12
    assert moved[9:].min() > 1e-6
    model(tokens).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.blocks.parameters())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mixer": ()}, "mixer has 0 entries"),
        ({"mlp": MLPS}, "mlp has 3 entries that take turns over 2 places; give 1 to 2"),
        ({"block": (spec(pn.PreNorm), pn.Sandwich)}, "block is a spec, or a tuple of specs"),
        ({"mlp": MLPS[:2], "d_ff": 8}, r"write it into mlp=\(MLP\(d_ff=32\)"),
        ({"block": (spec(pn.PreNorm), spec(pn.MLP, d_ff=8))}, "MLP has no spec as default of"),
    ],
)
def test_patterns_that_cannot_be_laid_are_refused(arguments, said):
    with pytest.raises(SpecError, match=said):
        pn.llama(24, 2, 2, **arguments)


def test_tile_edits_a_finished_model_as_the_recipe_would_have_made_it():
    plain = pn.llama(24, 5, 2)
    assert pn.tile(plain, "blocks.*.mixer", (LOCAL, FULL)) == pn.llama(24, 5, 2, mixer=(LOCAL, FULL))
    windows = pn.tile(plain, "blocks.*.mixer.window", (8, None, 4))
    assert [windows[f"blocks.{i}.mixer.window"] for i in range(5)] == [8, None, 4, 8, None]
    norms = pn.tile(plain, "*norm", (spec(pn.LayerNorm), spec(pn.RMSNorm)))
    assert [norms[path].cls for path in ("blocks.0.mixer_norm", "blocks.0.mlp_norm")].count(pn.LayerNorm) == 1


def test_tile_refuses_what_matches_nothing_and_more_values_than_places():
    plain = pn.llama(24, 2, 2)
    with pytest.raises(SpecError, match=r"did you mean 'blocks\.1\.mixer'"):
        pn.tile(plain, "blocks.*.mixr", (LOCAL, FULL))
    with pytest.raises(SpecError, match="3 entries that take turns over 2 places"):
        pn.tile(plain, "blocks.*.mixer", (LOCAL, FULL, LOCAL))
    with pytest.raises(SpecError, match="0 entries"):
        pn.tile(plain, "blocks.*.mixer", ())
