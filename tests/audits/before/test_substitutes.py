import numpy as np
import pytest
import torch
from small_studies import BASELINE, TRAINING, audit_specs, make_study, of, slow, the
from torch import nn

from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import Attention, LayerNorm, MoE, TopK, Transformer


class Renamed(LayerNorm):
    """LayerNorm under another name."""


class Grown(LayerNorm):
    """LayerNorm whose gain moves a little after the second step."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__(dim, eps)
        self.steps = 0

    def after_step(self):
        self.steps += 1
        if self.steps == 2:
            with torch.no_grad():
                self.weight += 0.01


RENAMED = BASELINE.replace("*norm", spec(Renamed))


def test_an_arm_that_trains_to_the_baselines_bits_is_invalid(corpus):
    found = the("silent substitute", audit_specs(make_study(arm=RENAMED), corpus))
    assert (found.severity, found.arm) == ("invalid", "arm")
    assert "bits" in found.message


def test_a_null_arm_and_one_with_its_own_recipe_may_have_the_baselines_function(corpus):
    assert of("silent substitute", audit_specs(make_study(arm=RENAMED, null=("arm",)), corpus)) == []
    study = make_study(arm=Arm(RENAMED, slow(BASELINE).training), changes={"arm": ("*",)})
    assert of("silent substitute", audit_specs(study, corpus)) == []


def test_a_difference_that_only_steps_bring_is_no_substitute(corpus):
    findings = audit_specs(make_study(arm=BASELINE.replace("*norm", spec(Grown))), corpus)
    assert of("silent substitute", findings) == []
    assert the("same function", findings).severity == "note"


def test_a_bias_that_only_updates_move_is_no_substitute(corpus):
    still = BASELINE.replace("*mlp", spec(MoE, n_experts=4, router=spec(TopK, bias_rate=0.0)))
    moving = BASELINE.replace("*mlp", spec(MoE, n_experts=4, router=spec(TopK, bias_rate=0.1)))
    assert of("silent substitute", audit_specs(make_study(still, arm=moving), corpus)) == []


def test_a_window_longer_than_the_probe_and_shorter_than_the_study_is_no_substitute(corpus):
    long = TRAINING.replace(seq_len=192, batch_tokens=192)
    findings = audit_specs(
        make_study(arm=BASELINE.replace("*mixer", spec(Attention, window=150)), training=long), corpus
    )
    assert of("silent substitute", findings) == []


def test_the_study_of_an_argument_that_nothing_reads_is_invalid(corpus):
    class Deaf(nn.Module):
        def __init__(self, d_model: int, strength: float = 1.0):
            super().__init__()
            self.mix = nn.Linear(d_model, d_model)

        def forward(self, x):
            return self.mix(x)

    deaf = BASELINE.replace("*mlp", spec(Deaf))
    findings = audit_specs(make_study(deaf, arm=deaf.replace("*mlp.strength", 2.0)), corpus)
    assert the("silent substitute", findings).severity == "invalid"


class Louder(LayerNorm):
    """LayerNorm, and a little more in evaluation."""

    def forward(self, x):
        return super().forward(x) * (1.0 if self.training else 1.01)


def test_a_difference_in_evaluation_alone_is_no_substitute(corpus):
    assert of("silent substitute", audit_specs(make_study(arm=BASELINE.replace("*norm", spec(Louder))), corpus)) == []


class Counted(Transformer):
    """Drops out after its tenth step."""

    taken = 0

    def after_step(self):
        self.taken += 1

    def forward(self, tokens):
        logits = super().forward(tokens)
        return nn.functional.dropout(logits, 0.1) if self.training and self.taken > 10 else logits


class Buffered(LayerNorm):
    """Counts its steps in a buffer."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__(dim, eps)
        self.register_buffer("age", torch.zeros(()))

    def after_step(self):
        self.age += 1


class Numbered(LayerNorm):
    """Has numbers, of which none moves after the first pass."""

    def forward(self, x):
        self.length, self.scale = x.shape[1], 0.5
        return super().forward(x)


COUNTED = spec(Counted, **dict(BASELINE.arguments))


@pytest.mark.parametrize(
    ("arm", "counter"), [(COUNTED, "taken"), (BASELINE.replace("final_norm", spec(Buffered)), "final_norm.age")]
)
def test_an_arm_that_counts_steps_is_doubted_and_may_differ_later(arm, counter, corpus):
    found = the("silent substitute", audit_specs(make_study(arm=arm), corpus))
    assert found.severity == "doubt" and "for the first 3 steps; it counts steps" in found.message
    assert found.evidence["counters"] == [counter]


@pytest.mark.parametrize(
    ("baseline", "arm"),
    [
        (BASELINE, BASELINE.replace("*norm", spec(Numbered))),
        (COUNTED, COUNTED.replace("*norm", spec(Renamed))),  # the baseline counts too
    ],
)
def test_numbers_that_stay_or_that_the_baseline_counts_too_excuse_nothing(baseline, arm, corpus):
    assert the("silent substitute", audit_specs(make_study(baseline, arm=arm), corpus)).severity == "invalid"


class Shaken(torch.optim.SGD):
    """SGD with noise of numpy's on the weights."""

    @torch.no_grad()
    def step(self):
        super().step()
        for p in (p for group in self.param_groups for p in group["params"]):
            p += 1e-3 * torch.from_numpy(np.random.randn(*p.shape)).float()


class Stirred(torch.optim.SGD):
    """SGD with noise of torch's on the weights."""

    @torch.no_grad()
    def step(self):
        super().step()
        for p in (p for group in self.param_groups for p in group["params"]):
            p += 1e-3 * torch.randn_like(p)


def test_an_optimizer_that_draws_from_an_unseeded_generator_is_doubted_once_for_all_of_its_arms(corpus):
    study = make_study(arm=RENAMED, training=TRAINING.replace(optimizer=spec(Shaken, lr=0.01)), null=("arm",))
    found = the("unsteady training", audit_specs(study, corpus))
    assert (found.severity, found.arm, found.evidence["arms"]) == ("doubt", None, ["baseline", "arm"])
    assert found.evidence["step"] == 1 and 0 < found.evidence["largest_difference"] < 1


@pytest.mark.parametrize("optimizer", [Stirred, torch.optim.SGD])
def test_noise_from_the_generator_that_each_step_seeds_is_steady(optimizer, corpus):
    study = make_study(arm=RENAMED, training=TRAINING.replace(optimizer=spec(optimizer, lr=0.01)), null=("arm",))
    assert of("unsteady training", audit_specs(study, corpus)) == []
