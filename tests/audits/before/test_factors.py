"""Several things at once, and the arms that tell them apart."""

import pytest
import torch
from small_studies import BASELINE, TRAINING, make_study, slow

from paribus.audits.before.declared_changes import find_differences, is_declared
from paribus.audits.before.factors import find_joined_factors, split_factors
from paribus.audits.before.sizes import find_other_amounts
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import MLP, GatedMLP, LatentAttention, LinearScaling, RMSNorm, RoPE, relu

RMS = BASELINE.replace("*norm", spec(RMSNorm))
CAP = BASELINE.replace("*.softcap", 30.0)
BOTH = RMS.replace("*.softcap", 30.0)
LATENT = spec(LatentAttention, kv_rank=12, nope_dim=8, rope_dim=8, value_dim=16, position=spec(RoPE))


def mixed(mixer):
    return BASELINE.replace("*.mixer", mixer)


def the_factors(arm, /, **arms):
    (found,) = find_joined_factors(make_study(treatments=arms), arm)
    return found


def edits(found):
    return [row["edit"] for row in found.evidence["one_factor_arms"]]


def test_two_changes_without_arms_of_their_own_are_told_with_the_code_that_makes_them():
    found = the_factors("both", both=BOTH)
    assert found.severity == "note"
    assert found.evidence["origin"] == "baseline"
    assert edits(found) == [
        'baseline.replace("*.mixer.softcap", 30.0)',
        'baseline.replace("*norm", spec(RMSNorm))',
    ]
    assert "for want of 2 arms" in found.message
    assert found.remedy == 'add an arm for each, such as baseline.replace("*.mixer.softcap", 30.0)'


def test_the_code_makes_the_change_it_is_for():
    cap, rms = edits(the_factors("both", both=BOTH))
    known = {"baseline": BASELINE, "spec": spec, "RMSNorm": RMSNorm}
    assert (eval(cap, known), eval(rms, known)) == (CAP, RMS)


def test_changes_with_an_arm_each_are_satisfied():
    found = the_factors("both", cap=CAP, rms=RMS, both=BOTH)
    assert [row["arm"] for row in found.evidence["one_factor_arms"]] == ["cap", "rms"]
    assert found.message.endswith("each has its own arm: 'cap', 'rms'")
    assert found.remedy == ""


def test_a_change_at_one_site_or_in_the_recipe_is_written_out_too():
    arm = slow(BASELINE.replace("blocks.0.mixer.softcap", 30.0))
    assert edits(the_factors("arm", arm=arm)) == [
        'baseline.replace("blocks.0.mixer.softcap", 30.0)',
        'Arm(baseline, training.replace(optimizer=training.optimizer.replace("lr", 0.001)))',
    ]


def test_one_thing_is_no_finding():
    assert list(find_joined_factors(make_study(treatments={"rms": RMS}), "rms")) == []


def test_an_enhanced_part_is_told_from_the_plain_one_of_its_class():
    wide, biased = LATENT.replace("value_dim", 24), LATENT.replace("bias", True)
    stretched = LATENT.replace("position.scaling", spec(LinearScaling, factor=2.0))
    enhanced = wide.replace("bias", True).replace("position", stretched["position"])
    arms = {"enhanced": mixed(enhanced), "plain": mixed(LATENT)}
    found = the_factors("enhanced", **arms)
    assert found.evidence["origin"] == "plain"
    assert [row["factor"] for row in found.evidence["one_factor_arms"]] == [
        "LatentAttention.bias: False -> True",
        "RoPE.scaling: None -> LinearScaling(factor=2.0)",
        "LatentAttention.value_dim: 16 -> 24",
    ]
    assert found.remedy.endswith("treatments['plain'].replace(\"*.mixer.bias\", True)")
    assert list(find_joined_factors(make_study(treatments=arms), "plain")) == []
    single = {"wide": mixed(wide), "biased": mixed(biased), "stretched": mixed(stretched)}
    found = the_factors("enhanced", **arms, **single)
    assert found.message.endswith("each has its own arm: 'biased', 'stretched', 'wide'")


def test_a_width_that_was_solved_for_is_no_factor():
    narrow = RMS.replace("*.mlp.d_ff", 100)
    assert len(split_factors(Arm(BASELINE, TRAINING), Arm(narrow, TRAINING))) == 2
    solved = Arm(narrow, TRAINING, match="parameters", width="*.mlp.d_ff")
    assert [factor.said for factor in split_factors(Arm(BASELINE, TRAINING), solved)] == ["LayerNorm -> RMSNorm"]


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"precision": "bf16"}, "training.precision"),
        ({"clip": None}, "training.clip"),
        ({"optimizer": spec(torch.optim.AdamW, lr=0.01, weight_decay=0.5)}, "training.optimizer.weight_decay"),
        ({"optimizer": spec(torch.optim.AdamW, lr=0.01, eps=1e-6)}, "training.optimizer.eps"),
        ({"optimizer": spec(torch.optim.SGD, lr=0.01)}, "training.optimizer"),
    ],
)
def test_every_field_of_a_recipe_is_a_difference_with_its_path(changed, path):
    (factor,) = split_factors(Arm(BASELINE, TRAINING), Arm(BASELINE, TRAINING.replace(**changed)))
    assert [change.path for change in factor.changes] == [path]


def test_a_pattern_declares_what_it_matches_and_everything_below():
    assert is_declared("blocks.0.mixer.softcap", ("*.mixer",))
    assert is_declared("training.optimizer.lr", ("training.optimizer",))
    assert not is_declared("training.optimizer", ("training.optimizer.lr",))


def test_more_tokens_are_doubted_unless_they_are_declared_and_a_few_more_are_noted():
    def amounts(changes=(), **recipe):
        study = make_study(arm=Arm(RMS, TRAINING.replace(**recipe)), changes={"arm": changes})
        return list(find_other_amounts(study))

    (found,) = amounts(tokens=2 * TRAINING.tokens)
    assert (found.severity, found.arm, found.site) == ("doubt", "arm", "training.tokens")
    assert (
        found.message == "'arm' has +100.0% training tokens (19,200 against 9,600) and +100.0% steps (200 against 100)"
    )
    assert [f.severity for f in amounts(("training.tokens",), tokens=2 * TRAINING.tokens)] == ["note"]
    assert [f.severity for f in amounts(tokens=TRAINING.tokens + 2 * 96)] == ["note"]  # 2 %
    assert amounts(tokens=TRAINING.tokens + 96 // 2) == []  # not a whole step more


def test_half_as_many_steps_of_twice_the_size_are_another_number_of_steps_alone():
    study = make_study(arm=Arm(RMS, TRAINING.replace(batch_tokens=192)))
    (found,) = find_other_amounts(study)
    assert (found.severity, found.site) == ("doubt", "training.batch_tokens")
    assert found.message == "'arm' has -50.0% steps (50 against 100)"


def test_a_width_that_was_solved_for_is_not_said_to_move_along(corpus):
    plain = BASELINE.replace("*.mlp", spec(MLP, d_ff=132, activation=relu))
    gated = Arm(BASELINE.replace("*.mlp", spec(GatedMLP, d_ff=88, activation=relu)))

    def moved(arm):
        found = find_differences(make_study(plain, arm=arm))
        return [f.evidence["argument"] for f in found if "argument" in f.evidence]

    assert moved(gated) == ["d_ff"]
    assert moved(gated.replace(match="parameters", width="*.mlp.d_ff")) == []
