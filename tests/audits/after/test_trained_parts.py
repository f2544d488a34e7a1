import math

import pytest
from small_studies import BASELINE, TRAINING, make_study, of, register, the

from paribus.audits.after.trained_parts import (
    find_idle_experts,
    find_late_auxiliary_losses,
    find_odd_sites,
    find_unmoved_parameters,
)
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import RMSNorm
from paribus.store.records import Record

STUDY = register(make_study(arm=BASELINE.replace("*norm", spec(RMSNorm))))


def make_records(**of_arm):
    """Arm to a record per seed, each from the fields given for it."""
    return {
        arm: {seed: Record(f"{arm}-{seed}", seed, "done", **fields) for seed, fields in enumerate(rows)}
        for arm, rows in of_arm.items()
    }


def sites(output, gradient=1.0, site="blocks.0.mixer"):
    return {"sites": {site: {"output_rms": output, "gradient_rms": gradient, "unmoved": 0.0}}}


def odd(study=STUDY, **of_arm):
    return list(find_odd_sites(study, make_records(**of_arm)))


@pytest.mark.parametrize(
    ("ratio", "severity"), [(9.9, None), (11.0, "note"), (0.09, "note"), (101.0, "doubt"), (0.009, "doubt")]
)
def test_a_site_that_does_not_change_is_noted_above_a_factor_of_10_and_doubted_above_100(ratio, severity):
    found = odd(baseline=[sites(2.0), sites(2.0)], arm=[sites(2.0 * ratio), sites(2.0 * ratio)])
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert (found[0].check, found[0].site, found[0].arm) == ("site norms", "blocks.0.mixer", "arm")


def test_a_changed_site_is_never_more_than_noted():
    rows = [sites(500.0, site="blocks.0.mixer_norm")] * 2
    (found,) = odd(baseline=[sites(1.0, site="blocks.0.mixer_norm")] * 2, arm=rows)
    assert found.severity == "note" and found.evidence["sites"][0]["changed"]


def test_every_pair_must_show_it():
    assert odd(baseline=[sites(1.0)] * 3, arm=[sites(50.0), sites(50.0), sites(9.0)]) == []


def test_one_pair_or_another_recipe_is_not_enough_for_a_doubt():
    assert odd(baseline=[sites(1.0)], arm=[sites(500.0)])[0].severity == "note"
    study = register(make_study(arm=Arm(BASELINE.replace("*norm", spec(RMSNorm)), TRAINING.replace(clip=0.1))))
    assert odd(study, baseline=[sites(1.0)] * 2, arm=[sites(500.0)] * 2)[0].severity == "note"


def test_gradients_that_vanish_are_out_of_line():
    (found,) = odd(baseline=[sites(1.0, 0.5)] * 2, arm=[sites(1.0, 0.0)] * 2)
    assert found.severity == "doubt" and "gradients" in found.message


@pytest.mark.parametrize("strange", [{}, {"sites": {"blocks.0.mixer": {"output_rms": None}}}])
def test_records_without_a_number_there_are_not_compared(strange):
    assert odd(baseline=[sites(1.0)] * 2, arm=[strange, sites(500.0)]) == []


def still(share, **others):
    return {"sites": {"": {"unmoved": share / 4}, "blocks.0.mlp": {"unmoved": share}, **others}}


def test_parameters_that_never_move_are_doubted_at_the_innermost_site_where_the_baselines_move():
    records = make_records(baseline=[still(0.0)] * 2, arm=[still(0.5), still(0.25)])
    (found,) = find_unmoved_parameters(STUDY, records)
    assert (found.severity, found.arm, found.site) == ("doubt", "arm", "blocks.0.mlp")
    assert found.evidence["share_unmoved"] == {"blocks.0.mlp": 0.25}


def test_what_is_wrong_with_the_whole_model_is_told_of_the_model():
    whole = {"sites": {"": {"unmoved": 0.5}}}
    (found,) = find_unmoved_parameters(STUDY, make_records(baseline=[whole]))
    assert found.site == "model" and found.evidence["share_unmoved"] == {"model": 0.5}
    assert "at the model never moved from their initial values in 1 run" in found.message
    (found,) = odd(baseline=[sites(1.0, site="")] * 2, arm=[sites(50.0, site="")] * 2)
    assert found.site == found.evidence["sites"][0]["site"] == "model"


def test_parameters_that_never_move_in_the_baseline_either_are_noted_in_both():
    records = make_records(baseline=[still(0.5)] * 2, arm=[still(0.5)] * 2)
    assert [(f.arm, f.severity) for f in find_unmoved_parameters(STUDY, records)] == [
        ("baseline", "note"),
        ("arm", "note"),
    ]


def test_parameters_that_moved_in_one_run_are_not_told():
    records = make_records(baseline=[still(0.0)] * 2, arm=[still(0.5), still(0.0)])
    assert list(find_unmoved_parameters(STUDY, records)) == []


def routed(*load, site="blocks.0.mlp", scored=1000, name="load"):
    diagnostics = {f"{site}.{name}": list(load)}
    return {"evaluations": ({"tokens": 1, "diagnostics": diagnostics},), "documents": {"tokens": [scored]}}


def idle(**of_arm):
    return list(find_idle_experts(STUDY, make_records(**of_arm)))


def test_an_even_load_is_not_suspected():
    assert idle(baseline=[routed(0.25, 0.25, 0.25, 0.25)], arm=[routed(0.5, 0.2, 0.2, 0.1)]) == []


@pytest.mark.parametrize(
    ("load", "is_collapsed"),
    [
        ((0.91, 0.03, 0.03, 0.03), True),
        ((0.89, 0.04, 0.04, 0.03), False),  # exp of the entropy is 1.6
        ((0.88, 0.12, 0.0, 0.0), True),  # 1.44
        ((0.5, 0.5, 0.0, 0.0), False),
    ],
)
def test_a_router_has_collapsed_where_one_expert_takes_nine_tenths_or_the_load_is_worth_less_than_one_and_a_half(
    load, is_collapsed
):
    found = [f for f in idle(arm=[routed(*load)] * 2) if "collapsed" in f.message]
    assert [f.severity for f in found] == ["doubt"] * is_collapsed
    if found:
        entropy = -sum(p * math.log(p) for p in load if p)
        assert found[0].evidence["effective_experts"]["0"] == pytest.approx(math.exp(entropy))


def test_a_collapse_in_fewer_than_half_of_the_runs_is_noted():
    even, greedy = routed(0.25, 0.25, 0.25, 0.25), routed(0.97, 0.01, 0.01, 0.01)
    assert the("routing", idle(arm=[even, even, greedy])).severity == "note"
    assert the("routing", idle(arm=[even, greedy])).severity == "doubt"


@pytest.mark.parametrize(
    ("loads", "scored", "severity"),
    [
        ([(0.4, 0.3, 0.3, 0.0)] * 2, 1000, "note"),  # a quarter is not more than a quarter
        ([(0.5, 0.5, 0.0, 0.0)] * 2, 1000, "doubt"),
        ([(0.5, 0.5, 0.0, 0.0), (0.4, 0.3, 0.3, 0.0)], 1000, "note"),  # not in every run
        ([(0.5, 0.5, 0.0, 0.0)] * 2, 31, "note"),  # of 4 experts, 8 tokens each are needed
        ([(0.5, 0.5, 0.0, 0.0)] * 2, 32, "doubt"),
    ],
)
def test_experts_that_got_nothing_are_doubted_where_they_are_more_than_a_quarter_in_every_run(loads, scored, severity):
    found = of("routing", idle(arm=[routed(*load, scored=scored) for load in loads]))
    assert [f.severity for f in found] == [severity]


def test_a_collapsed_site_is_not_told_twice():
    assert len(idle(arm=[routed(1.0, 0.0, 0.0, 0.0)] * 2)) == 1


@pytest.mark.parametrize(
    "record",
    [routed(1.0), routed(0.0, 7.0), routed(None, None), routed(1.0, 0.0, name="weight"), {"evaluations": ()}],
)
def test_what_is_no_load_of_two_experts_or_more_is_passed_by(record):
    assert idle(arm=[record]) == []


def late(**of_arm):
    """Findings where every run of an arm has the auxiliary losses given, one a step; None is an absent one."""
    lines = {
        f"{arm}-{seed}": [
            {"step": step, **({} if loss is None else {"auxiliary_loss": loss})} for step, loss in enumerate(losses, 1)
        ]
        for arm, runs in of_arm.items()
        for seed, losses in enumerate(runs)
    }
    records = make_records(**{arm: [{}] * len(runs) for arm, runs in of_arm.items()})
    return list(find_late_auxiliary_losses(STUDY, records, lines.__getitem__))


NEVER, ALWAYS, LATE = [None] * 12, [0.1] * 12, [None] * 5 + [0.1] * 7


@pytest.mark.parametrize("losses", [LATE, [0.0] * 5 + [0.1] * 7])
def test_an_auxiliary_loss_that_sets_in_later_is_doubted_with_its_step(losses):
    (found,) = late(baseline=[NEVER] * 2, arm=[losses] * 2)
    assert (found.check, found.severity, found.arm) == ("late auxiliary loss", "doubt", "arm")
    assert found.evidence["first_step"] == {"0": 6, "1": 6} and "in its first 5 steps" in found.message


@pytest.mark.parametrize(
    ("baseline", "arm"),
    [
        (NEVER, [ALWAYS] * 2),
        (NEVER, [NEVER] * 2),
        (LATE, [LATE] * 2),
        (NEVER, [LATE, ALWAYS]),  # not in every run
        (NEVER, [[0.0] * 4 + [0.1] * 8] * 2),  # as weights that start at 0 may do
        (NEVER, [[0.1, *LATE[1:]]] * 2),
    ],
)
def test_a_loss_from_the_start_or_never_or_as_the_baselines_is_not_told(baseline, arm):
    assert late(baseline=[baseline] * 2, arm=arm) == []
