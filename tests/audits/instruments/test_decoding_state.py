"""What an arm keeps of a sequence while it writes on."""

import pytest
import torch
from small_studies import BASELINE, make_study, of
from torch import nn

from paribus.audits import measure_arms
from paribus.audits.before.sizes import find_other_states
from paribus.audits.instruments.decoding_state import count_numbers, measure_state
from paribus.design.specs import spec
from paribus.errors import PartError
from paribus.nn import Attention, HyperMixer, LatentAttention, LinearAttention, NoPosition, looped

T = 24


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (Attention(32, n_heads=4), 2 * 4 * 8 * T),
        (Attention(32, n_heads=4, n_kv_heads=1), 2 * 8 * T),
        (Attention(32, n_heads=4, head_dim=5, window=7), 2 * 4 * 5 * 7),
        (Attention(32, n_heads=4, window=99), 2 * 4 * 8 * T),
        (LatentAttention(32, n_heads=4, kv_rank=6, rope_dim=4), (6 + 4) * T),
        (HyperMixer(32, n_heads=4, places=spec(NoPosition)), 8 * 32 + 1),
        (LinearAttention(32, n_heads=4, d_hidden=3, places=spec(NoPosition)), 3 * 32 + 1),
    ],
)
def test_the_state_of_a_mixer_follows_its_formula(mixer, expected):
    assert mixer.state_size(T) == expected


@pytest.mark.parametrize("part", [HyperMixer, LinearAttention])
def test_the_formula_counts_what_step_carries(part):
    mixer, state = part(32, n_heads=4, d_hidden=5, places=spec(NoPosition)), None
    for token in torch.randn(1, T, 32).split(1, dim=1):
        _, state = mixer.step(token, state)
    assert count_numbers(state) == mixer.state_size(T)


class Cache(nn.Module):
    """Keeps every token, and says so only by stepping."""

    def __init__(self, d_model: int):
        super().__init__()
        self.map = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.map(x)

    def step(self, x, state=None):
        kept = x if state is None else torch.cat([state["kept"], x], dim=1)
        return self.map(x), {"kept": kept}


class Mute(nn.Linear):
    def __init__(self, d_model: int):
        super().__init__(d_model, d_model)


class Boasting(Mute):
    def state_size(self, seq_len):
        return "small"


def sizes(**arms):
    facts = measure_arms(make_study(treatments=arms), 257)
    return {name: facts[name].state_size for name in facts}


def test_a_model_keeps_what_its_mixers_keep_and_a_looped_one_keeps_it_for_every_round():
    assert sizes(same=BASELINE.replace("blocks.0.mixer.window", 8)) == {
        "baseline": 2 * 2 * 32 * T,
        "same": 2 * 32 * T + 2 * 32 * 8,
    }
    model = looped(d_model=32, n_layers=1, n_heads=2, n_loops=3)
    assert sizes(looped=model)["looped"] == 3 * 2 * 32 * T


def test_a_mixer_of_ones_own_is_measured_by_stepping():
    assert sizes(own=BASELINE.replace("blocks.1.mixer", spec(Cache)))["own"] == 2 * 32 * T + 32 * T


def test_a_state_that_grows_is_carried_on_beyond_what_is_stepped():
    model = BASELINE.replace("*.mixer", spec(Cache)).replace("position", spec(NoPosition))
    assert measure_state(model, {}, vocab_size=50, seq_len=1_000) == 2 * 32 * 1_000


def test_nothing_is_said_of_a_mixer_that_does_not_tell():
    study = make_study(arm=BASELINE.replace("blocks.1.mixer", spec(Mute)))
    facts = measure_arms(study, 257)
    assert facts["arm"].state_size is None
    assert facts["arm"].to_json()["state_size"] is None
    assert list(find_other_states(study, facts)) == []


def test_a_state_size_that_is_no_count_is_an_error_at_its_site():
    with pytest.raises(PartError, match=r"'small', not a count \[site blocks.1.mixer\]"):
        sizes(own=BASELINE.replace("blocks.1.mixer", spec(Boasting)))


def test_a_smaller_state_is_noted_with_both_numbers():
    study = make_study(
        treatments={"same": BASELINE.replace("*norm.eps", 1e-4), "one": BASELINE.replace("*.n_kv_heads", 1)}
    )
    (found,) = of("state size", list(find_other_states(study, measure_arms(study, 257))))
    assert (found.arm, found.severity) == ("one", "note")
    assert found.message == "'one' keeps 1,536 against 3,072 numbers of a sequence of 24 tokens while decoding (-50.0%)"
