import planted_parts as planted
from small_studies import BASELINE, TRAINING, audit_specs, make_study, of, slow, the, worst

from paribus.audits import measure_arms
from paribus.design.differences import compare_specs
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import MLP, GatedMLP, LayerNorm, RMSNorm, llama, relu

RMS = BASELINE.replace("*norm", spec(RMSNorm))


def test_a_treatment_equal_to_the_baseline_is_invalid(corpus):
    found = the("sites changed", audit_specs(make_study(arm=BASELINE), corpus))
    assert (found.severity, found.arm) == ("invalid", "arm")
    assert found.evidence == {"sites_changed": 0}


def test_a_default_spelled_out_is_no_change(corpus):
    arm = BASELINE.replace("*norm", spec(LayerNorm, eps=1e-5))
    assert the("sites changed", audit_specs(make_study(arm=arm), corpus)).severity == "invalid"


def test_a_treatment_equal_to_the_baseline_is_welcome_as_a_null_arm(corpus):
    findings = audit_specs(make_study(arm=BASELINE, null=("arm",)), corpus)
    assert of("sites changed", findings) == of("undeclared difference", findings) == worst(findings) == []


def test_a_null_arm_that_computes_something_else_is_doubted(corpus):
    found = the("same function", audit_specs(make_study(arm=RMS, null=("arm",)), corpus))
    assert found.severity == "doubt"
    assert found.evidence["relative_difference"] > 1e-3


def test_the_eps_of_the_final_norm_is_one_of_five_sites_and_nearly_the_same_function(corpus):
    study = make_study(RMS, arm=RMS.replace("final_norm.eps", 1e-5))
    findings = audit_specs(study, corpus)
    sites, function = the("sites changed", findings), the("same function", findings)
    assert (sites.evidence["sites_changed"], sites.evidence["sites_alike"]) == (1, 5)
    assert (sites.severity, sites.site) == ("note", "final_norm")
    assert "1 of 5" in sites.message
    assert function.severity == "note" and "nearly the same function" in function.message
    assert 1e-9 < function.evidence["relative_difference"] < 1e-4
    assert worst(findings) == []


def test_three_layers_have_seven_norms():
    baseline = llama(d_model=48, n_layers=3, n_heads=3)
    study = make_study(
        baseline,
        treatments={"last": baseline.replace("final_norm.eps", 1e-5), "all": baseline.replace("*norm.eps", 1e-5)},
    )
    assert str(compare_specs(study, "last")) == "sites changed: 1 of 7"
    assert str(compare_specs(study, "all")) == "sites changed: 7 of 7"


def test_a_change_outside_the_declared_patterns_is_doubted(corpus):
    arm = RMS.replace("blocks.0.mixer.softcap", 30.0)
    study = make_study(arm=arm, changes={"arm": ("*norm",)})
    found = the("undeclared difference", audit_specs(study, corpus))
    assert (found.severity, found.site) == ("doubt", "blocks.0.mixer.softcap")
    assert found.evidence["undeclared"] == ["blocks.0.mixer.softcap: None -> 30.0"]


def test_a_pattern_allows_the_arguments_below_its_site(corpus):
    study = make_study(RMS, arm=RMS.replace("*norm.eps", 1e-4), changes={"arm": ("*norm",)})
    assert of("undeclared difference", audit_specs(study, corpus)) == []


def test_a_pattern_for_an_argument_does_not_allow_another_class(corpus):
    study = make_study(RMS, arm=BASELINE, changes={"arm": ("*norm.eps",)})
    found = of("undeclared difference", audit_specs(study, corpus))
    assert [f.severity for f in found] == ["doubt", "note"]
    assert len(found[0].evidence["undeclared"]) == 5


def test_a_declared_change_that_is_not_there_is_noted(corpus):
    study = make_study(arm=RMS, changes={"arm": ("*norm", "*mlp")})
    found = the("undeclared difference", audit_specs(study, corpus))
    assert (found.severity, found.site) == ("note", "*mlp")


def test_another_learning_rate_is_doubted_unless_it_is_declared(corpus):
    quiet = make_study(arm=slow(RMS))
    found = the("undeclared difference", audit_specs(quiet, corpus))
    assert (found.severity, found.site) == ("doubt", "training.optimizer.lr")
    declared = make_study(arm=slow(RMS), changes={"arm": ("*norm", "training.optimizer.lr")})
    assert of("undeclared difference", audit_specs(declared, corpus)) == []


def test_a_recipe_alone_is_a_change(corpus):
    findings = audit_specs(make_study(arm=slow(BASELINE), changes={"arm": ("training.*",)}), corpus)
    assert of("sites changed", findings) == of("undeclared difference", findings) == worst(findings) == []


def test_norm_and_mlp_at_once_are_two_things_and_five_norms_are_one(corpus):
    both = RMS.replace("*mlp", spec(planted.ZeroStartMLP))
    findings = audit_specs(make_study(treatments={"norm": RMS, "both": both}), corpus)
    (found,) = [f for f in of("several differences", findings) if "kinds" in f.evidence]
    assert (found.arm, found.severity) == ("both", "note")
    assert found.evidence["kinds"] == ["LayerNorm -> RMSNorm", "GatedMLP -> ZeroStartMLP"]


def test_an_argument_that_changes_with_the_class_of_its_site_is_noted_once(corpus):
    same = BASELINE.replace("*norm", spec(RMSNorm, eps=1e-5))
    findings = audit_specs(make_study(treatments={"rms": RMS, "same": same}), corpus)
    found = the("several differences", findings)
    assert (found.arm, found.severity) == ("rms", "note")
    assert found.message == "'rms' also changes eps from 1e-05 to 1e-06 at 5 sites"


def test_an_argument_that_changes_in_several_ways_is_one_finding(corpus):
    arm = RMS.replace("final_norm.eps", 1e-4)
    found = the("several differences", audit_specs(make_study(arm=arm), corpus))
    assert found.message == "'arm' also changes eps from 1e-05 to 1e-06 at 4 sites, from 1e-05 to 0.0001 at 1 site"


def test_swiglu_at_equal_width_is_doubted_with_its_numbers(corpus):
    baseline = BASELINE.replace("*mlp", spec(MLP, d_ff=128, activation=relu))
    findings = audit_specs(make_study(baseline, arm=baseline.replace("*mlp", spec(GatedMLP, d_ff=128))), corpus)
    found = the("parameters and FLOPs", findings)
    more = 2 * 32 * 128
    assert found.severity == "doubt"
    assert found.evidence["parameters, treatment"] - found.evidence["parameters, baseline"] == more
    assert found.evidence["parameters, relative"] == more / found.evidence["parameters, baseline"]
    assert found.evidence["training FLOPs per token, relative"] > 0.05


def test_swiglu_at_matched_width_is_not_doubted(corpus):
    baseline = BASELINE.replace("*mlp", spec(MLP, d_ff=132, activation=relu))
    study = make_study(baseline, arm=baseline.replace("*mlp", spec(GatedMLP, d_ff=88)))
    assert of("parameters and FLOPs", audit_specs(study, corpus)) == []


def test_two_treatments_of_one_function_are_told_once(corpus):
    own = BASELINE.replace("*norm", spec(planted.RootMeanSquare))
    found = the("same function", audit_specs(make_study(treatments={"rms": RMS, "own": own}), corpus))
    assert (found.arm, found.evidence["other"]) == ("own", "rms")


def test_sizes_of_the_arms_are_those_of_the_built_models():
    facts = measure_arms(make_study(treatments={"rms": RMS, "slow": Arm(RMS, TRAINING.replace(batch_tokens=192))}), 257)
    assert list(facts) == ["baseline", "rms", "slow"]
    assert facts["baseline"].parameters["norm_parameters"] == 5 * 2 * 32
    assert facts["rms"].parameters["norm_parameters"] == 5 * 32
    assert facts["rms"].flops == facts["baseline"].flops
    assert facts["slow"].flops == facts["rms"].flops
    assert facts["baseline"].difference is None
    shown = facts["slow"].to_json()
    assert (shown["sites_changed"], shown["sites_alike"]) == (5, 5)
    assert shown["changes"][-1] == "training.batch_tokens: 96 -> 192"


def test_an_arm_of_a_billion_parameters_is_measured_without_allocating_it():
    large = llama(d_model=2048, n_layers=16, n_heads=16)
    facts = measure_arms(make_study(large, arm=large.replace("*norm", spec(LayerNorm))), 50_000)
    assert facts["baseline"].parameters["parameters"] > 8e8
    assert facts["baseline"].flops["forward_flops_per_token"] > 1.6e9
