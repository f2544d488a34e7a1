import torch
from small_studies import BASELINE, TRAINING, audit_specs, make_study, of, slow, the
from torch import nn

from paribus.nn import Attention, LayerNorm, MoE, TopK
from paribus.specs import spec
from paribus.study import Arm


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
