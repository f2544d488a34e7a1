"""Building: arguments, paths, streams, roles, and what a wrong spec is told."""

import copy

import pytest
import torch
from torch import nn

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.design.streams import derive
from paribus.errors import SpecError
from paribus.nn.contract import build_at, reset_at

SIZES = {"vocab_size": 61, "seq_len": 16}


class Scale(nn.Module):
    """A user's norm whose width has a name of its own."""

    def __init__(self, features: int, start: float = 1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((features,), start))

    def forward(self, x):
        return x * self.gain


class WantsMuch(nn.Module):
    """Records what the model handed down."""

    def __init__(self, d_model, n_heads, head_dim, seq_len, layer, n_layers, vocab_size, position, other=5):
        super().__init__()
        self.got = dict(locals())

    def forward(self, x):
        return x


class NeedsRank(nn.Module):
    def __init__(self, d_model, rank):
        super().__init__()

    def forward(self, x):
        return x


class OwnModel(nn.Module):
    """A user's whole model: torch's own parts, one of ours, and no reset."""

    def __init__(self, vocab_size, d_model=8):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.norm = pn.build(spec(pn.RMSNorm), "norm", d_model, slot="norm")
        self.out = nn.Linear(d_model, vocab_size)

    def forward(self, tokens):
        return self.out(self.norm(self.tokens(tokens)))


class OwnHead(nn.Module):
    def __init__(self, final_norm):
        super().__init__()
        self.final_norm = pn.build(final_norm, "final_norm", 8)


class Broken(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.share = d_model / 0


class DistanceBias(pn.Position):
    """A user's learned bias, a matrix by its shape."""

    def __init__(self, n_heads, seq_len):
        super().__init__()
        self.bias_by_distance = nn.Parameter(torch.zeros(n_heads, seq_len))

    def bias(self, t):
        place = torch.arange(t)
        return self.bias_by_distance[:, (place[:, None] - place).clamp_min(0)]


class DeclaresRoles(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model, d_model))

    def roles(self):
        return {"weight": "vector"}

    def forward(self, x):
        return x @ self.weight


def make(model_spec, seed=0, **sizes):
    return pn.build_model(model_spec, seed, **{**SIZES, **sizes})


def shared(a, b):
    """Names of equal path and shape, and of those the ones that are bit-equal."""
    left, right = dict(a.named_parameters()), dict(b.named_parameters())
    common = {n for n in left.keys() & right.keys() if left[n].shape == right[n].shape}
    return common, {n for n in common if torch.equal(left[n], right[n])}


LLAMA = pn.llama(d_model=24, n_layers=3, n_heads=2)


def test_width_goes_to_the_first_open_positional_whatever_its_name():
    assert make(LLAMA.replace("final_norm", spec(Scale))).final_norm.gain.shape == (24,)
    assert make(LLAMA.replace("final_norm", spec(nn.LayerNorm))).final_norm.normalized_shape == (24,)
    assert make(LLAMA.replace("final_norm", spec(nn.Identity)))(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 61)


def test_width_that_the_spec_states_itself_does_not_slide_to_the_next_argument():
    with pytest.raises(SpecError, match="'rank'"):
        make(LLAMA.replace("blocks.1.mlp", spec(NeedsRank, d_model=24)))


def test_legend_reaches_every_argument_of_its_name_and_leaves_the_others_alone():
    model = make(LLAMA.replace("blocks.1.mixer", spec(WantsMuch, seq_len=7)))
    got = model.blocks[1].mixer.got
    assert (got["d_model"], got["n_heads"], got["head_dim"]) == (24, 2, 12)
    assert (got["layer"], got["n_layers"], got["vocab_size"]) == (1, 3, 61)
    assert got["seq_len"] == 7  # what the spec binds wins
    assert got["other"] == 5
    assert got["position"] is model.position


def test_missing_argument_is_named_with_its_place():
    with pytest.raises(SpecError, match=r"NeedsRank needs 'rank'.*\[site blocks\.2\.mlp\]"):
        make(LLAMA.replace("blocks.2.mlp", spec(NeedsRank)))


def test_class_instead_of_spec_is_told_to_write_a_spec():
    with pytest.raises(SpecError, match=r"write spec\(RMSNorm, \.\.\.\) \[site final_norm\]"):
        make(spec(OwnHead, final_norm=pn.RMSNorm))


def test_error_inside_a_users_constructor_keeps_its_type_and_says_where():
    class_spec = LLAMA.replace("blocks.0.mlp", spec(Broken))
    with pytest.raises(ZeroDivisionError) as caught:
        make(class_spec)
    assert "while building Broken [site blocks.0.mlp]" in caught.value.__notes__


def test_torch_multihead_attention_is_refused_as_a_mixer():
    with pytest.raises(SpecError, match=r"nn\.MultiheadAttention is no mixer.*blocks\.0\.mixer"):
        make(LLAMA.replace("*.mixer", spec(nn.MultiheadAttention)))


@pytest.mark.parametrize("name", ["vocab_size", "seq_len"])
def test_model_bound_to_other_data_is_a_tokenizer_mismatch(name):
    with pytest.raises(SpecError, match=f"tokenizer mismatch: the model has {name} 99"):
        make(spec(pn.Transformer, **dict(LLAMA.arguments), **{name: 99}))


def test_heads_that_do_not_divide_are_refused_with_their_place():
    with pytest.raises(SpecError, match=r"n_heads 2 is no multiple of n_kv_heads 3 \[site blocks\.0\.mixer\]"):
        make(LLAMA.replace("*.n_kv_heads", 3))
    with pytest.raises(SpecError, match="d_model 24 is no multiple of n_heads 5"):
        make(LLAMA.replace("n_heads", 5))


def test_head_width_that_the_models_position_does_not_have_is_refused():
    with pytest.raises(SpecError, match=r"head_dim is 6 here and 12 in the model's RoPE.*\[site blocks\.0\.mixer\]"):
        make(LLAMA.replace("*.mixer.head_dim", 6))


def test_norm_pattern_edits_seven_sites_of_three_layers_and_nothing_else():
    changes = LLAMA.diff(LLAMA.replace("*norm", spec(pn.LayerNorm)))
    expected = {f"blocks.{i}.{name}" for i in range(3) for name in ("mixer_norm", "mlp_norm")} | {"final_norm"}
    assert {change.path for change in changes} == expected


def test_every_site_of_the_spec_is_a_module_of_the_same_path():
    edited = LLAMA.replace("*.mixer.qk_norm", spec(pn.RMSNorm)).replace("blocks.1.mixer.position", spec(pn.NoPosition))
    modules = dict(make(edited).named_modules())
    assert set(edited.sites()) <= modules.keys()
    assert len(edited.sites()) > len(LLAMA.sites())


def test_same_seed_gives_the_same_model_and_another_seed_another():
    common, equal = shared(make(LLAMA), make(LLAMA))
    assert common == equal
    common, equal = shared(make(LLAMA), make(LLAMA, seed=1))
    assert all("norm" in name for name in equal)


def test_arms_share_every_weight_of_equal_path_and_shape_to_the_bit():
    base = make(LLAMA)
    arms = {
        "norm": LLAMA.replace("*norm", spec(pn.NoNorm)),
        "mlp": LLAMA.replace("*.mlp", spec(pn.MLP)),
        "depth": pn.llama(d_model=24, n_layers=5, n_heads=2),
        "position": LLAMA.replace("position", spec(pn.Learned)),
        "untied": pn.llama(d_model=24, n_layers=3, n_heads=2, tied=False),
        "sandwich": pn.llama(d_model=24, n_layers=3, n_heads=2, block=spec(pn.Sandwich)),
    }
    for name, arm in arms.items():
        common, equal = shared(base, make(arm))
        assert common == equal, name
        assert {"embedding.weight", "blocks.2.mixer.v.weight"} <= equal, name


def test_gqa_arm_keeps_the_query_and_output_projections_of_the_mha_arm():
    _, equal = shared(make(LLAMA), make(LLAMA.replace("*.n_kv_heads", 1)))
    assert {f"blocks.{i}.mixer.{p}.weight" for i in range(3) for p in "qo"} <= equal
    assert not any(".mixer.k." in name or ".mixer.v." in name for name in equal)


def test_foreign_part_is_reset_under_the_stream_of_its_site():
    model = make(LLAMA.replace("blocks.1.mlp", spec(nn.Linear, out_features=24)), seed=3)
    torch.manual_seed(derive(3, "init", "blocks.1.mlp"))
    assert torch.equal(model.blocks[1].mlp.weight, nn.Linear(24, 24).weight)


def test_leaf_is_drawn_under_the_stream_of_its_own_path():
    model = make(LLAMA, seed=3)
    torch.manual_seed(derive(3, "init", "blocks.1.mixer.o"))
    assert torch.equal(model.blocks[1].mixer.o.weight, 0.02 * torch.randn(24, 24))


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    make(LLAMA)
    assert torch.equal(before, torch.get_rng_state())


def test_part_made_by_hand_follows_the_global_generator():
    def by_hand():
        torch.manual_seed(11)
        return pn.PreNorm(16, mixer=spec(pn.Attention, n_heads=2))

    common, equal = shared(by_hand(), by_hand())
    assert common == equal
    torch.manual_seed(12)
    assert not torch.equal(by_hand().mlp.up.weight, pn.PreNorm(16, mixer=spec(pn.Attention, n_heads=2)).mlp.up.weight)


@pytest.mark.parametrize("part", pn.discover_parts(), ids=lambda part: part.name)
def test_reset_of_our_parts_restores_every_weight(part):
    if part.slot == "model":
        module = make(LLAMA)
    else:
        sizes = {"d_model": 24, "n_heads": 2, "head_dim": 12, "n_experts": 4, "tokens": pn.TokenIds(), **SIZES}
        width = () if part.slot == "position" else (24,)
        module = build_at(spec(part.cls), part.slot, 0, *width, **sizes)
    if not list(module.parameters()):
        assert not hasattr(module, "reset_parameters") or list(module.buffers())
        return
    spoiled = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in spoiled.parameters():
            parameter.fill_(7.0)
    reset_at(spoiled, "" if part.slot == "model" else part.slot, 0)
    common, equal = shared(module, spoiled)
    assert common == equal == set(dict(module.named_parameters()))


def test_roles_follow_sites_and_shapes():
    untied = pn.gpt2(d_model=24, n_layers=1, n_heads=2, tied=False)
    assert pn.roles(make(untied)) == {
        "embedding.weight": "embedding",
        "position.table.weight": "embedding",
        "head.weight": "head",
        "final_norm.weight": "norm",
        "final_norm.bias": "norm",
        **{f"blocks.0.{n}.{t}": "norm" for n in ("mixer_norm", "mlp_norm") for t in ("weight", "bias")},
        **{f"blocks.0.mixer.{p}.weight": "matrix" for p in "qkvo"},
        **{f"blocks.0.mixer.{p}.bias": "vector" for p in "qkvo"},
        **{f"blocks.0.mlp.{p}.weight": "matrix" for p in ("up", "down")},
        **{f"blocks.0.mlp.{p}.bias": "vector" for p in ("up", "down")},
    }


def test_tied_head_counts_once_as_embedding():
    found = pn.roles(make(LLAMA))
    assert [name for name, role in found.items() if role in ("embedding", "head")] == ["embedding.weight"]
    assert "head" not in found.values()


def test_users_norm_has_the_role_of_its_site_and_not_of_its_name():
    model = make(LLAMA.replace("*mixer_norm", spec(Scale)).replace("blocks.0.mlp", spec(Scale)))
    found = pn.roles(model)
    assert found["blocks.0.mixer_norm.gain"] == "norm"
    assert found["blocks.0.mlp.gain"] == "vector"


def test_class_may_declare_its_roles_and_a_wrong_one_is_refused():
    model = make(LLAMA.replace("blocks.0.mlp", spec(DeclaresRoles)))
    assert pn.roles(model)["blocks.0.mlp.weight"] == "vector"
    model.blocks[0].mlp.roles = lambda: {"weight": "matrx"}
    with pytest.raises(SpecError, match=r"'matrx' for 'blocks\.0\.mlp\.weight'"):
        pn.roles(model)


def test_users_own_model_is_built_and_has_roles():
    model = make(spec(OwnModel))
    assert model(torch.zeros(2, 5, dtype=torch.long)).shape == (2, 5, 61)
    assert pn.roles(model) == {
        "tokens.weight": "embedding",
        "norm.weight": "norm",
        "out.weight": "matrix",
        "out.bias": "vector",
    }


def test_state_dict_holds_every_parameter_once_and_no_table():
    model = make(LLAMA)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    assert not any("position" in name for name in model.state_dict())


@pytest.mark.parametrize(("norm", "in_blocks", "in_all"), [(pn.LayerNorm, 1536, 1792), (pn.RMSNorm, 768, 896)])
def test_norm_parameters_of_the_published_size(norm, in_blocks, in_all):
    recipe = pn.llama(d_model=128, n_layers=3, n_heads=8, d_ff=256).replace("*norm", spec(norm))
    model = pn.build_model(recipe, 0, vocab_size=49152, seq_len=80, device="meta")
    found = pn.roles(model)
    sizes = {name: p.numel() for name, p in model.named_parameters() if found[name] == "norm"}
    assert sum(n for name, n in sizes.items() if name.startswith("blocks.")) == in_blocks
    assert sum(sizes.values()) == in_all


def test_meta_model_counts_a_large_model_without_memory():
    # V d + L (4 d^2 + 3 d f + 2 d) + d with a tied head
    model = pn.build_model(pn.llama(4096, 32, 32, d_ff=11008), 0, vocab_size=32000, seq_len=4096, device="meta")
    assert all(p.is_meta for p in model.parameters())
    expected = 32000 * 4096 + 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096
    assert sum(p.numel() for p in model.parameters()) == expected


def test_learned_position_is_an_embedding_to_the_optimizer_and_trains():
    model = make(LLAMA.replace("position", spec(DistanceBias)))
    assert pn.roles(model)["position.bias_by_distance"] == "embedding"
    model(torch.randint(61, (2, 16))).square().sum().backward()
    assert model.position.bias_by_distance.grad.abs().sum() > 0


def test_copy_of_a_model_uses_its_own_position():
    model = make(LLAMA)
    twin = copy.deepcopy(model)
    assert twin.blocks[0].mixer.where is twin.position
    assert twin.position is not model.position
