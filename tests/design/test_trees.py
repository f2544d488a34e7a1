"""Two trees of classes and arguments: where they differ, whether their classes are there or only named."""

import pytest

from paribus.design.spec_names import DEFAULT, Reference, SpecName
from paribus.design.specs import spec
from paribus.design.trees import Change, changed_sites, describe
from paribus.errors import SpecError


class Norm:
    def __init__(self, dim, eps=1e-6):
        pass


class OtherNorm:
    def __init__(self, dim):
        pass


class Mixer:
    def __init__(self, dim, n_heads=2, windows=(4, 8), activation=len):
        pass


class Block:
    def __init__(self, mixer, norm):
        pass


class Model:
    def __init__(self, d_model, blocks, qk_norm=None):
        pass


def make_model(layers=2, **mixer):
    return spec(Model, d_model=8, blocks=[spec(Block, mixer=spec(Mixer, **mixer), norm=spec(Norm, eps=1e-6))] * layers)


def named(tree):
    return SpecName.from_json(tree.to_json())


EDITS = {
    "an argument": make_model().replace("blocks.0.norm.eps", 1e-5),
    "a part": make_model().replace("*.norm", spec(OtherNorm)),
    "an empty site": spec(Model, d_model=8, blocks=make_model()["blocks"], qk_norm=spec(Norm)),
    "a list of another length": make_model(layers=3),
    "the type of a number": make_model().replace("d_model", 8.0),
    "nothing": make_model(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_named_specs_differ_where_specs_differ(edit):
    changes = make_model().diff(EDITS[edit])
    by_name = named(make_model()).diff(named(EDITS[edit]))
    assert [change.path for change in by_name] == [change.path for change in changes]
    assert bool(changes) == (edit != "nothing")


def test_a_named_spec_knows_no_default_and_says_so():
    mixers = [named(make_model(**given))["blocks.0.mixer"] for given in ({}, {"n_heads": 2})]
    assert mixers[0].diff(mixers[1]) == (Change("n_heads", DEFAULT, 2),)
    assert str(mixers[0].diff(mixers[1])[0]) == "n_heads: default -> 2"


def test_a_named_spec_is_read_and_written_as_its_spec_and_found_by_path():
    model = make_model(activation=sorted)
    assert named(model).to_json() == model.to_json()
    assert list(named(model).sites()) == list(model.sites())
    assert named(model)["blocks.1.mixer.activation"] == Reference("builtins:sorted")
    assert describe(named(model)) == describe(model)
    with pytest.raises(SpecError, match=r"no 'blocks.0.norn' in Model; did you mean 'blocks.0.norm'\?"):
        named(model)["blocks.0.norn"]


@pytest.mark.parametrize("data", [{"class": "m:A"}, {"arguments": {}}, 3, None, [{"class": "m:A", "arguments": {}}]])
def test_what_is_no_spec_as_json_is_refused(data):
    with pytest.raises(SpecError, match="the JSON of a spec"):
        SpecName.from_json(data)


@pytest.mark.parametrize(
    ("after", "sites"),
    [
        (make_model(), set()),
        (make_model().replace("blocks.1.norm.eps", 1e-5), {"blocks.1.norm"}),
        (make_model().replace("*.mixer.windows", (4, 16)), {"blocks.0.mixer", "blocks.1.mixer"}),
        (make_model().replace("*.norm", spec(OtherNorm)), {"blocks.0.norm", "blocks.1.norm"}),
        (make_model().replace("d_model", 16), {""}),
        (make_model(layers=3), {"blocks"}),
        (EDITS["an empty site"], {"qk_norm"}),
        (spec(Block, mixer=spec(Mixer), norm=None), {""}),
    ],
)
def test_an_argument_counts_as_the_part_that_takes_it_and_a_list_of_parts_as_one_site(after, sites):
    assert changed_sites(named(make_model()), named(after)) == sites
    assert changed_sites(make_model(), after) == sites
