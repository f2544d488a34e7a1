import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.design.specs import Spec, spec
from paribus.errors import SpecError


class Norm:
    def __init__(self, dim, eps=1e-6):
        pass


class OtherNorm:
    def __init__(self, dim):
        pass


class Mixer:
    def __init__(self, dim, n_heads=2, qk_norm=None, activation=len):
        pass


class Block:
    def __init__(self, mixer, mixer_norm, mlp_norm):
        pass


class Model:
    def __init__(self, d_model, blocks, final_norm):
        pass


def make_model(layers=3, **norm):
    block = spec(Block, mixer=spec(Mixer), mixer_norm=spec(Norm, **norm), mlp_norm=spec(Norm, **norm))
    return spec(Model, d_model=8, blocks=[block] * layers, final_norm=spec(Norm, **norm))


def test_an_unknown_argument_is_refused_with_the_nearest_name():
    with pytest.raises(SpecError, match="Norm takes no argument 'epz'; did you mean 'eps'"):
        spec(Norm, epz=1)


@pytest.mark.parametrize("value", [float("nan"), object(), {"a": 1}, lambda x: x])
def test_a_value_that_is_no_data_is_refused(value):
    with pytest.raises(SpecError):
        spec(Norm, eps=value)


def test_a_wildcard_replaces_every_norm_site_and_nothing_else():
    edited = make_model().replace("*norm", spec(OtherNorm))
    classes = {path: site.cls for path, site in edited.sites().items()}
    assert sum(cls is OtherNorm for cls in classes.values()) == 7
    assert all(classes[f"blocks.{i}.mixer"] is Mixer for i in range(3))
    assert edited["blocks.0.mixer.qk_norm"] is None


def test_a_class_where_a_spec_stands_is_refused_with_what_to_write():
    with pytest.raises(SpecError, match=r"a spec stands at .*norm', and Norm is a class; write spec\(Norm\)"):
        make_model().replace("*norm", Norm)


def test_a_pattern_that_spells_an_argument_fills_an_empty_site():
    edited = make_model().replace("*.mixer.qk_norm", spec(OtherNorm))
    assert all(edited[f"blocks.{i}.mixer.qk_norm"] == spec(OtherNorm) for i in range(3))


def test_a_pattern_edits_arguments_that_stand_at_their_default():
    edited = make_model().replace("blocks.1.mixer.n_heads", 4)
    assert [edited[f"blocks.{i}.mixer.n_heads"] for i in range(3)] == [2, 4, 2]


def test_a_pattern_without_a_match_names_the_nearest_site():
    with pytest.raises(SpecError, match="matches no site of Model; did you mean 'final_norm'"):
        make_model().replace("finalnorm", spec(OtherNorm))


def test_replacing_leaves_the_original_as_it_was():
    model = make_model()
    before = model.digest
    model.replace("*norm", spec(OtherNorm))
    assert model.digest == before


def test_diff_lists_each_changed_site_once_with_both_sides():
    model = make_model()
    changes = model.diff(model.replace("final_norm.eps", 1e-5))
    assert [(c.path, c.before, c.after) for c in changes] == [("final_norm.eps", 1e-6, 1e-5)]
    assert len(model.diff(model.replace("*norm", spec(OtherNorm)))) == 7


def test_a_default_that_is_spelled_out_is_no_difference():
    assert make_model().diff(make_model(eps=1e-6)) == ()
    assert make_model().digest == make_model(eps=1e-6).digest


def test_one_and_one_point_zero_and_true_are_different_arguments():
    digests = {spec(Norm, eps=value).digest for value in (1, 1.0, True)}
    assert len(digests) == 3
    assert spec(Norm, eps=1).diff(spec(Norm, eps=True)) != ()


def test_json_round_trip_keeps_classes_functions_and_nesting():
    model = make_model().replace("blocks.0.mixer.activation", sorted)
    text = json.dumps(model.to_json())
    assert Spec.from_json(json.loads(text)) == model


def test_json_of_an_unknown_class_is_refused_by_name():
    with pytest.raises(SpecError, match="cannot find 'test_specs:Gone'"):
        Spec.from_json({"class": "test_specs:Gone", "arguments": {}})


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=4)
)


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_every_nested_value_survives_json(value):
    built = spec(Norm, eps=value)
    assert Spec.from_json(json.loads(json.dumps(built.to_json()))) == built


@given(st.integers(1, 4), st.data())
def test_a_diff_after_a_replacement_is_exactly_the_replaced_path(layers, data):
    model = make_model(layers)
    path = data.draw(st.sampled_from(sorted(p for p, s in model.sites().items() if s.cls is Norm)))
    assert [c.path for c in model.diff(model.replace(path, spec(OtherNorm)))] == [path]
