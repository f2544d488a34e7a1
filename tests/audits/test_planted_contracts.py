import planted_parts as planted
import pytest
import torch
from small_studies import BASELINE, TRAINING, audit_specs, make_study, of, the, worst
from torch import nn

from paribus.audits import measure_arms
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.errors import PartError, TrainingError
from paribus.nn import Attention, RMSNorm
from paribus.training import MuonAdamW

# Honest parts: the suite may not know their place, and nothing above a note may be said.

HONEST = {
    "torch norm": (BASELINE.replace("*norm", spec(nn.RMSNorm)), 0),
    "identity": (BASELINE.replace("*norm", spec(nn.Identity)), 0),
    "torch activation as mlp": (BASELINE.replace("*mlp", spec(nn.SiLU)), 0),
    "scratch space": (BASELINE.replace("*norm", spec(planted.ScratchSpace)), 0),
    "takes the whole legend": (BASELINE.replace("*mixer", spec(planted.Handed)), 0),
    "composite of ours": (BASELINE.replace("*mixer", spec(planted.Wrapped, inner=spec(Attention))), 0),
    "width in the spec": (BASELINE.replace("*norm", spec(nn.LayerNorm, normalized_shape=32)), 0),
    "length in the spec": (BASELINE.replace("*mixer", spec(planted.FixedMixing, seq_len=24)), 1),
    "norm over heads": (BASELINE.replace("*mixer.qk_norm", spec(planted.HeadNorm)), 1),
    "more experts than tokens": (BASELINE.replace("*mlp", spec(planted.ManyExperts)), 1),
    "bfloat16 inside": (BASELINE.replace("*mlp", spec(planted.CoarseMLP)), 1),
}


@pytest.fixture(scope="module")
def findings(corpus):
    return audit_specs(make_study(treatments={name: arm for name, (arm, _) in HONEST.items()}), corpus)


@pytest.mark.parametrize("arm", HONEST)
def test_an_honest_part_is_never_doubted_and_noted_only_where_the_suite_cannot_place_it(arm, findings):
    own = [f for f in of("conformance", findings) if f.arm == arm]
    assert worst(own) == []
    assert len(own) == HONEST[arm][1], own


def test_parts_of_paribus_are_not_tried_again(corpus, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried")

    monkeypatch.setattr("paribus.audits.before.part_conformance.check_part", refuse)
    assert of("conformance", audit_specs(make_study(arm=BASELINE.replace("*norm", spec(RMSNorm))), corpus)) == []
    with pytest.raises(PartError, match="AssertionError: tried"):
        audit_specs(make_study(arm=BASELINE.replace("*norm", spec(nn.RMSNorm))), corpus)


# Flawed parts.


@pytest.mark.parametrize(
    ("pattern", "part", "severity", "check"),
    [
        ("*mlp", planted.WrongBackward, "doubt", "has the right gradient"),
        ("final_norm", planted.RestlessNorm, "doubt", "is deterministic"),
        ("*norm", planted.ShrinkingReset, "doubt", "resets the same"),
        ("*mixer", planted.PeeksInShortWindows, "doubt", "is causal"),
        ("*mixer", planted.UnmaskedAttention, "note", "is causal"),
        ("*norm", planted.BatchStatistics, "note", "keeps rows apart"),
        ("*mlp", planted.HalfDeadMLP, "note", "trains every parameter"),
    ],
)
def test_a_part_that_breaks_its_contract_is_named_with_the_check_and_its_numbers(
    pattern, part, severity, check, corpus
):
    study = make_study(arm=BASELINE.replace(pattern, spec(part)))
    found = [f for f in of("conformance", audit_specs(study, corpus)) if check in f.evidence["failed"]]
    assert [(f.severity, f.arm) for f in found] == [(severity, "arm")]
    assert found[0].site == found[0].evidence["sites"][0]
    assert found[0].message.startswith(f"{part.__name__} as ")
    assert f"{check} ({found[0].evidence['failed'][check]})" in found[0].message


@pytest.mark.parametrize(
    ("pattern", "part"), [("*norm", planted.UnseededStart), ("blocks.1.mlp", planted.UnseededProjection)]
)
def test_a_part_whose_two_constructions_differ_is_invalid(pattern, part, corpus):
    found = the("conformance", audit_specs(make_study(arm=BASELINE.replace(pattern, spec(part))), corpus))
    assert (found.severity, found.arm) == ("invalid", "arm")
    assert found.site in BASELINE.sites() and found.evidence["tensors"][0].startswith(found.site)


def test_a_shape_that_broadcasting_hides_is_doubted_at_its_site(corpus):
    study = make_study(arm=BASELINE.replace("*mlp", spec(planted.Pooled)))
    found = [f for f in of("conformance", audit_specs(study, corpus)) if f.severity == "doubt"]
    assert [(f.site, f.evidence["sites"]) for f in found] == [("blocks.0.mlp", 2)]
    assert "forward returns (2, 24, 1) for (2, 24, 32), expected (2, 24, 32)" in found[0].message


def test_a_part_of_the_baseline_is_told_once_and_a_part_of_two_treatments_for_each(corpus):
    flawed = BASELINE.replace("*norm", spec(planted.ShrinkingReset))
    study = make_study(flawed, arm=flawed.replace("*mlp.d_ff", 88))
    assert [f.arm for f in of("conformance", audit_specs(study, corpus))] == ["baseline"]
    study = make_study(treatments={"one": flawed, "two": flawed.replace("*mlp.d_ff", 88)})
    assert [f.arm for f in of("conformance", audit_specs(study, corpus))] == ["one", "two"]


# Arms that cannot run.


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("pattern", ["blocks.1.mlp_norm", "final_norm"])
def test_a_wrong_shape_names_the_arm_the_site_and_both_shapes(pattern, measured, corpus):
    study = make_study(arm=BASELINE.replace(pattern, spec(planted.Shrink)))
    said = r"forward returns \(\d, 24, 31\) for \(\d, 24, 32\), expected \(\d, 24, 32\)$"
    with pytest.raises(PartError, match=rf"^arm 'arm', site {pattern} \(Shrink\): {said}"):
        measure_arms(study, 257) if measured else audit_specs(study, corpus)


def test_an_exception_in_a_position_names_its_site_and_not_that_of_the_mixer_that_asks():
    study = make_study(arm=BASELINE.replace("position", spec(planted.BrokenPosition)))
    with pytest.raises(PartError, match=r"^arm 'arm', site position \(BrokenPosition\): ValueError: no such rotation$"):
        measure_arms(study, 257)


# Recipes that cannot train an arm.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": spec(torch.optim.Muon)}, "Muon only supports 2D parameters.*MuonAdamW"),
        ({"optimizer": spec(torch.optim.LBFGS)}, r"LBFGS\(\) cannot train this model: its step\(\) needs 'closure'"),
        ({"optimizer": spec(torch.optim.AdamW, lr=-1.0)}, "Invalid learning rate: -1.0"),
        ({"optimizer": spec(torch.optim.AdamW, betas=0.9)}, r"AdamW\(betas=0.9\) cannot train"),
        ({"optimizer": spec(planted.NoOptimizer)}, "is no optimizer: it has no step"),
        ({"schedule": spec(planted.NoSchedule)}, r"NoSchedule\(\) is no learning-rate schedule: TypeError"),
        ({"schedule": spec(planted.EndlessSchedule)}, r"EndlessSchedule\(\) is inf at step 0 of 100"),
    ],
)
def test_a_recipe_that_cannot_train_an_arm_is_refused_before_training(changes, said, corpus):
    study = make_study(arm=Arm(BASELINE, TRAINING.replace(**changes)))
    with pytest.raises(TrainingError, match=f"^arm 'arm': .*{said}"):
        audit_specs(study, corpus)


@pytest.mark.parametrize("optimizer", [MuonAdamW, torch.optim.SGD, torch.optim.Adafactor, torch.optim.RMSprop])
def test_a_recipe_that_can_train_an_arm_is_let_through(optimizer, corpus):
    study = make_study(arm=BASELINE, null=("arm",), training=TRAINING.replace(optimizer=spec(optimizer)))
    assert worst(audit_specs(study, corpus)) == []
