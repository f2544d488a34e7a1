import pytest
from torch import nn

from paribus.design.specs import spec
from paribus.nn import build_model, discover_parts, llama, mixtral
from paribus.nn.conformance.subjects import CHECKED_SLOTS
from paribus.nn.contract import ROLES, roles
from paribus.nn.slots import SLOTS, parts_of, takes_steps


def build(recipe):
    return build_model(recipe, 0, vocab_size=11, seq_len=8)


def test_every_part_names_a_slot_of_the_table_that_the_suite_can_try():
    assert {part.slot for part in discover_parts()} == set(CHECKED_SLOTS) == SLOTS.keys() - {"head"}


@pytest.mark.parametrize("name", [name for name, slot in SLOTS.items() if slot.sites])
def test_the_sites_of_a_slot_are_where_its_parts_stand_in_a_model(name):
    recipe = mixtral(d_model=24, n_layers=2, n_heads=3, n_experts=4, top_k=2, d_ff=16)
    changed = {change.path for change in recipe.diff(recipe.replace(SLOTS[name].sites, spec(nn.Identity)))}
    assert changed <= parts_of(build(recipe), name).keys()
    assert changed


def test_roles_follow_the_table():
    model = build(llama(d_model=24, n_layers=1, n_heads=3))
    assert {slot.role for slot in SLOTS.values() if slot.role} <= set(ROLES)
    role_of = roles(model)
    norms = parts_of(model, "norm")
    assert len(norms) == 3
    assert all(role_of[f"{path}.weight"] == "norm" for path in norms)


def test_parts_come_by_path_owners_first_and_by_slot():
    model = build(llama(d_model=24, n_layers=2, n_heads=3))
    assert list(parts_of(model, "block")) == ["blocks.0", "blocks.1"]
    paths = list(parts_of(model))
    assert paths[0] == "" and paths.index("blocks.0") < paths.index("blocks.0.mixer")


def test_a_part_takes_steps_where_its_slot_and_its_class_do():
    mixer, mlp = nn.Identity(), nn.Identity()
    mixer.paribus_slot, mlp.paribus_slot = "mixer", "mlp"
    assert not takes_steps(mixer)
    mixer.step = mlp.step = lambda x, state: (x, state)
    assert takes_steps(mixer) and not takes_steps(mlp) and not takes_steps(nn.Identity())
