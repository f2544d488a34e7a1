import planted_parts as planted
import pytest
import torch
from small_studies import BASELINE, audit_specs, make_study, of, the
from torch import nn

from paribus.audits.before.causality import EXACT, find_leaks
from paribus.audits.instruments.process_settings import plain_settings
from paribus.design.specs import spec
from paribus.nn import PreNorm
from paribus.nn.contract import build_model

LENGTH = 128


class PeeksAt(nn.Module):
    """A running mean whose value at one position holds the token after it too."""

    def __init__(self, d_model: int, place: int, training_alone: bool = False):
        super().__init__()
        self.mix, self.place, self.training_alone = nn.Linear(d_model, d_model), place, training_alone

    def forward(self, x):
        y = self.mix(x)
        sums = y.cumsum(1)
        if self.training or not self.training_alone:
            sums = torch.cat((sums[:, : self.place], sums[:, self.place : self.place + 1] + y[:, self.place + 1, None],
                              sums[:, self.place + 1 :]), 1)  # fmt: skip
        return sums


class Remembers(nn.Module):
    """Scales by the mean of the batch before, kept in an attribute, in the modes that are named."""

    def __init__(self, d_model: int, mode: str = "both"):
        super().__init__()
        self.mix, self.mode, self.last = nn.Linear(d_model, d_model), mode, None

    def forward(self, x):
        y = self.mix(x)
        if self.mode != "both" and self.training != (self.mode == "training"):
            return y
        last, self.last = self.last, y.detach().mean()
        return y if last is None else y * last.exp()


class Averages(nn.Module):
    """Scales by a slow average of all batches."""

    def __init__(self, d_model: int):
        super().__init__()
        self.mix, self.average = nn.Linear(d_model, d_model), 0.0

    def forward(self, x):
        y = self.mix(x)
        self.average = 0.9 * self.average + 0.1 * y.detach().mean()
        return y * self.average.exp()


class SortsByExpert(nn.Module):
    """Dropout on rows that are sorted by which of two maps they take."""

    def __init__(self, d_model: int):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(2))

    def forward(self, x):
        y, first = torch.zeros_like(x), x[..., 0] > 0
        for chosen, part in zip((first, ~first), self.maps, strict=True):
            y[chosen] = torch.nn.functional.dropout(part(x[chosen]), 0.5, self.training)
        return y


def leaks_of(mixer):
    model = build_model(BASELINE.replace("blocks.0.mixer", mixer), 0, vocab_size=61, seq_len=LENGTH).double()
    return list(find_leaks("arm", model, BASELINE, 61, LENGTH))


@pytest.mark.parametrize("place", [7, 15, 16, 31, 47, 63, 95, LENGTH - 2])
def test_a_leak_at_one_border_of_a_chunk_is_found_and_named(place):
    (found,) = leaks_of(spec(PeeksAt, place=place))
    assert (found.check, found.severity, found.site) == ("causality", "invalid", "blocks.0.mixer")
    assert found.evidence["position"] == place


def test_a_leak_at_the_first_token_is_found():
    (found,) = leaks_of(spec(PeeksAt, place=0))
    assert found.check == "causality" and found.evidence["position"] == 0


def test_a_honest_mixer_moves_by_rounding_alone():
    assert leaks_of(spec(planted.LinearAttention)) == []
    assert EXACT == 1e-9


@pytest.mark.parametrize(("mode", "seen"), [("both", "training"), ("training", "training"), ("eval", "evaluation")])
def test_a_part_that_keeps_what_it_saw_is_invalid_in_the_mode_where_it_does(mode, seen, corpus):
    findings = audit_specs(make_study(arm=BASELINE.replace("blocks.1.mlp", spec(Remembers, mode=mode))), corpus)
    found = the("state between passes", findings)
    assert (found.severity, found.site, found.evidence["mode"]) == ("invalid", "blocks.1.mlp", seen)
    assert of("causality", findings) == of("same function", findings) == []


def test_a_slow_average_of_all_batches_is_a_state_and_not_loose_noise(corpus):
    findings = audit_specs(make_study(arm=BASELINE.replace("blocks.1.mlp", spec(Averages))), corpus)
    assert the("state between passes", findings).site == "blocks.1.mlp"
    assert of("causality", findings) == []


def test_running_statistics_of_training_are_no_state(corpus):
    class Watched(planted.RootMeanSquare):
        def __init__(self, width: int):
            super().__init__(width)
            self.register_buffer("seen", torch.zeros(width))

        def forward(self, x):
            if self.training:
                self.seen.lerp_(x.detach().square().mean((0, 1)), 0.1)
            return super().forward(x)

    assert (
        of("state between passes", audit_specs(make_study(arm=BASELINE.replace("*norm", spec(Watched))), corpus)) == []
    )


def test_buffers_are_as_they_were_after_the_trials():
    class Follows(nn.Module):
        def __init__(self, d_model: int):
            super().__init__()
            self.mix = nn.Linear(d_model, d_model)
            self.register_buffer("scale", torch.ones(d_model))

        def forward(self, x):
            self.scale.mul_(0.5)
            return self.mix(x)

    model = build_model(BASELINE.replace("blocks.0.mixer", spec(Follows)), 0, vocab_size=61, seq_len=24).double()
    assert list(find_leaks("arm", model, BASELINE, 61, 24)) == []
    assert torch.equal(model.get_buffer("blocks.0.mixer.scale"), torch.ones(32, dtype=torch.float64))


def test_noise_in_another_order_is_a_note_and_no_leak():
    found = leaks_of(spec(SortsByExpert))
    assert {f.check for f in found} <= {"causality", "row leakage"}
    assert found and {f.severity for f in found} == {"note"}


def test_a_leak_behind_noise_is_still_a_leak():
    class Both(SortsByExpert):
        def forward(self, x):
            return super().forward(x).mean(1, keepdim=True).expand_as(x)

    assert "invalid" in {f.severity for f in leaks_of(spec(Both)) if f.check == "causality"}


@pytest.mark.parametrize("order", [1, -1])
def test_rows_before_and_rows_after_may_leak(order):
    class Queue(nn.Module):
        def __init__(self, d_model: int):
            super().__init__()
            self.mix = nn.Linear(d_model, d_model)

        def totals(self, x):
            """Of the rows up to each one, or from each one on."""
            rows = x.mean((1, 2), keepdim=True)
            return rows.cumsum(0) if order == 1 else rows.flip(0).cumsum(0).flip(0)

        def forward(self, x):
            return self.mix(x) * self.totals(x).exp()

    found = leaks_of(spec(Queue))
    assert [f.severity for f in found if f.check == "row leakage"] == ["invalid"]


# Stacks of which a slice is dead.


class Stack(nn.Module):
    """Three maps of which two are used."""

    def __init__(self, d_model: int):
        super().__init__()
        self.maps = nn.Parameter(torch.randn(3, d_model, d_model))

    def forward(self, x):
        return x @ self.maps[0] @ self.maps[2]


def test_a_dead_slice_of_a_stack_is_noted_by_number_and_count(corpus):
    found = the("dead parameters", audit_specs(make_study(arm=BASELINE.replace("blocks.1.mlp", spec(Stack))), corpus))
    assert (found.severity, found.site) == ("note", "blocks.1.mlp")
    assert found.evidence["slices"] == {"blocks.1.mlp.maps": [1]}
    assert found.evidence["parameters"] == 32 * 32


# The place where a gradient stops.


class DetachedMixer(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.mix(x).detach()


class DetachedNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return (x * self.weight).detach()


class DetachedBranch(PreNorm):
    """What the mixer says is detached, by the block."""

    def forward(self, x):
        x = x + self.mixer(self.mixer_norm(x)).detach()
        return x + self.mlp(self.mlp_norm(x))


def test_the_users_part_is_blamed_for_dead_parameters_and_not_the_norm_before_it(corpus):
    found = the("dead parameters", audit_specs(make_study(arm=BASELINE.replace("*mixer", spec(DetachedMixer))), corpus))
    assert (found.severity, found.site) == ("doubt", "blocks.0.mixer")
    assert found.evidence["tensors"][0] == "blocks.0.mixer_norm.weight"
    assert found.message.endswith("and 4 more")  # of weight and bias of a norm and a map, in two blocks


def test_the_users_part_is_blamed_for_all_that_is_silent_before_it(corpus):
    found = the(
        "dead parameters", audit_specs(make_study(arm=BASELINE.replace("final_norm", spec(DetachedNorm))), corpus)
    )
    assert found.site == "final_norm"
    assert any(name.startswith("blocks.0.mlp.") for name in found.evidence["tensors"])


def test_where_all_dead_parts_are_ours_the_last_of_the_first_block_is_blamed(corpus):
    block = BASELINE["blocks.0"]
    arm = BASELINE.replace("blocks.?", spec(DetachedBranch, **dict(block.arguments)))
    found = the("dead parameters", audit_specs(make_study(arm=arm), corpus))
    assert found.site == "blocks.0.mixer"


def test_settings_moved_inside_are_told_and_put_back():
    with plain_settings() as moved:
        torch.set_float32_matmul_precision("medium")
        assert moved == {}
    assert moved == {"matmul precision": "highest -> medium"}
    assert torch.get_float32_matmul_precision() == "highest"


class AlwaysSeeded(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(d_model, d_model, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x @ self.mix


def test_weights_that_no_seed_varies_are_noted_and_an_identity_is_not(corpus):
    class Identity(AlwaysSeeded):
        def __init__(self, d_model: int):
            super().__init__(d_model)
            self.mix = nn.Parameter(torch.eye(d_model))

    def told(part):
        findings = of("conformance", audit_specs(make_study(arm=BASELINE.replace("*mlp", spec(part))), corpus))
        return [f for f in findings if "seedless" in f.evidence]

    (found,) = told(AlwaysSeeded)
    assert (found.severity, found.site) == ("note", "blocks.0.mlp")
    assert found.evidence["tensors"] == ["blocks.0.mlp.mix", "blocks.1.mlp.mix"]
    assert told(Identity) == []
