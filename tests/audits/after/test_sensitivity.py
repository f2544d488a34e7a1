"""Findings from runs beside the pairs, on numbers chosen by hand."""

import math

import numpy as np
import pytest
from small_studies import BASELINE, make_study

from paribus.audits.after.sensitivity import (
    explain_by_rounding,
    find_noise_floor,
    find_rate_dependence,
    find_size_explanations,
    find_tuning_flaws,
)
from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.judgement import NullCalibration, Pair, Rule, compare, decide
from paribus.judgement.registration import RegisteredRun, RegisteredStudy
from paribus.judgement.report_data import FinishedExtraRun
from paribus.judgement.tuned import Trial, Tuned, TunedArm

RULE = Rule(margin=0.03)


def register(**fields):
    study = make_study(treatments={"idea": BASELINE.replace("dropout", 0.1)}, extra_rates=(0.5, 2.0), **fields)
    return RegisteredStudy.from_json(study.to_json())


STUDY = register()


def comparison(*differences, metric=VAL_LOSS, rule=RULE):
    pairs = tuple(Pair(seed=i, baseline=3.0, treatment=3.0 + d) for i, d in enumerate(differences))
    return compare("idea", pairs, rule, metric)


def at_rate(arm, factor, value, status="done"):
    return FinishedExtraRun(RegisteredRun(0, f"{arm} at {factor}", arm=arm, factor=factor), status, value)


def at_rates(study, compared, statuses=("done", "done"), **by_factor):
    """Findings where the pair at 0.5 x and at 2 x has these differences, the baseline at 3.1 and 3.2."""
    rows = []
    for factor, difference, base, status in zip((0.5, 2.0), by_factor.values(), (3.1, 3.2), statuses, strict=True):
        value = base + difference if status == "done" else None
        rows += [at_rate("baseline", factor, base), at_rate("idea", factor, value, status)]
    found = find_rate_dependence(study, {"idea": compared}, {"idea": decide(compared)}, rows)
    return [finding for finding in found if finding.arm == "idea"]


BETTER = (-0.100, -0.101, -0.102)  # sd .001: one pair scatters by 4.303 * .001 * sqrt(4/3) = .00497


def sizes_explain(arms, widths, base):
    compared = comparison(*BETTER)
    return find_size_explanations(STUDY, {"idea": compared}, {"idea": decide(compared)}, arms, widths, base)


def test_pairs_that_agree_with_the_verdict_are_a_note_with_their_numbers():
    (found,) = at_rates(STUDY, comparison(*BETTER), half=-0.05, double=-0.2)
    assert found.severity == "note"
    assert found.evidence["noise_of_one_pair"] == pytest.approx(4.302653 * 0.001 * math.sqrt(4 / 3), rel=1e-5)
    assert found.evidence["differences"] == pytest.approx(
        {"0.5 x": -0.05, "2 x": -0.2, "each arm's best of these rates": -0.1}
    )
    assert found.evidence["turned_at"] == []


@pytest.mark.parametrize(("value", "said"), [(2.9, "at 2 x its learning rate it gains 0.1 nats/token"), (2.999, None)])
def test_a_baseline_that_gains_more_than_the_margin_at_another_rate_is_told(value, said):
    compared = comparison(*BETTER)
    rows = [at_rate("baseline", 0.5, 3.1), at_rate("baseline", 2.0, value)]
    found = list(find_rate_dependence(STUDY, {"idea": compared}, {"idea": decide(compared)}, rows))
    assert [(f.severity, f.arm) for f in found] == ([("note", "baseline")] if said else [])
    assert not said or said in found[0].message


def test_a_registration_of_an_older_store_calls_the_extra_rates_by_their_old_name():
    content = {("rate_probe" if key == "extra_rates" else key): value for key, value in STUDY.to_json().items()}
    older = RegisteredStudy.from_json(content)
    numbers = {"half": -0.05, "double": -0.2}
    assert at_rates(older, comparison(*BETTER), **numbers) == at_rates(STUDY, comparison(*BETTER), **numbers) != []


def test_a_pair_that_speaks_against_a_better_is_a_doubt_at_its_factor():
    (found,) = at_rates(STUDY, comparison(*BETTER), half=0.02, double=-0.2)
    assert (found.severity, found.arm, found.evidence["turned_at"]) == ("doubt", "idea", ["0.5 x"])


def test_a_pair_on_the_other_side_of_the_margin_than_the_verdict_is_said_and_a_note():
    (found,) = at_rates(STUDY, comparison(*BETTER), half=-0.05, double=-0.02)
    assert (found.severity, found.evidence["turned_at"]) == ("note", [])
    assert "-0.02 at 2 x" in found.message
    assert found.message.endswith(
        "none turns the verdict, which one pair cannot rule out; at 2 x it lies within the margin of 0.03 that the "
        "verdict exceeds"
    )
    noisy = (0.008, -0.008, 0.0)  # equivalent; one pair scatters by .040
    (found,) = at_rates(STUDY, comparison(*noisy), half=-0.035, double=0.0)
    assert found.severity == "note"
    assert "at 0.5 x it lies outside the margin of 0.03 that the verdict stays in" in found.message


def test_a_verdict_that_leaves_the_size_open_has_no_side_of_the_margin():
    (found,) = at_rates(STUDY, comparison(-0.028, -0.029, -0.030), half=-0.02, double=-0.05)
    assert (found.severity, found.evidence["other_side_of_the_margin_at"]) == ("note", [])
    assert found.message.endswith("which one pair cannot rule out")


def test_a_pair_against_the_verdict_within_the_noise_of_one_pair_turns_nothing():
    noisy = (-0.10, -0.11, -0.12)  # one pair scatters by .0497
    (found,) = at_rates(STUDY, comparison(*noisy), half=-0.065, double=-0.1)
    assert found.severity == "note"


@pytest.mark.parametrize(
    ("difference", "severity"), [(0.02, "note"), (-0.029, "note"), (0.05, "doubt"), (-0.05, "doubt")]
)
def test_an_equivalence_turns_where_the_pair_leaves_the_margin(difference, severity):
    same = (0.0001, -0.0001, 0.0002)
    (found,) = at_rates(STUDY, comparison(*same), half=difference, double=0.0)
    assert found.severity == severity


def test_where_higher_is_better_the_signs_are_the_other_way_round():
    study = register(metric=VAL_ACCURACY)
    better = comparison(0.100, 0.101, 0.102, metric=VAL_ACCURACY)
    assert [f.severity for f in at_rates(study, better, half=0.2, double=0.05)] == ["note"]
    assert [f.severity for f in at_rates(study, better, half=-0.05, double=0.05)] == ["doubt"]


def test_a_diverged_extra_run_is_named_and_not_counted():
    (found,) = at_rates(STUDY, comparison(*BETTER), statuses=("done", "diverged"), half=-0.1, double=-0.1)
    assert "at 2 x a run diverged" in found.message
    assert list(found.evidence["differences"]) == ["0.5 x", "each arm's best of these rates"]


def test_each_arm_at_its_best_of_the_rates_is_compared_too():
    # baseline: 3.1, 3.0 (shared), 3.2; idea: 3.05, 2.9 (shared), 2.8
    (found,) = at_rates(STUDY, comparison(*BETTER), half=-0.05, double=-0.4)
    assert found.evidence["differences"]["each arm's best of these rates"] == pytest.approx(2.8 - 3.0)
    assert found.severity == "note"


def test_a_baseline_that_catches_up_at_its_own_best_rate_is_a_doubt():
    # at 0.5 x the baseline has 2.80 and the idea 2.85; at the shared rate 3.0 and 2.9
    rows = [at_rate("baseline", 0.5, 2.80), at_rate("idea", 0.5, 2.85)]
    compared = comparison(*BETTER)
    found, of_baseline = find_rate_dependence(STUDY, {"idea": compared}, {"idea": decide(compared)}, rows)
    assert found.evidence["turned_at"] == ["0.5 x", "each arm's best of these rates"]
    assert of_baseline.evidence["gains"] == {"0.5 x": pytest.approx(0.2)}


def test_without_a_verdict_there_is_nothing_that_could_turn():
    assert at_rates(STUDY, comparison(-0.1, 0.1), half=0.5, double=0.5) == []


def tuning(*edges, stopped_by=None):
    rates = (0.5, 1.0, 2.0)
    curve = tuple(Trial({"learning_rate": rate}, ("d",), (1.0,), 1.0) for rate in rates)
    arms = {
        "baseline": TunedArm(curve, {"learning_rate": 1.0}, ()),
        "idea": TunedArm(curve, {"learning_rate": 2.0}, edges),
    }
    return Tuned({"learning_rate": rates}, None, 1, 5000, 2, (5000,), 0, stopped_by, arms)


def test_a_best_value_at_the_edge_is_doubted_in_its_arm_and_the_choice_is_always_told():
    edge, choice = find_tuning_flaws(tuning("learning_rate"))
    assert (edge.severity, edge.arm) == ("doubt", "idea")
    assert "2 (learning_rate from 0.5 to 2)" in edge.message
    assert (choice.severity, choice.evidence["trials"]) == ("note", 3)
    assert [finding.severity for finding in find_tuning_flaws(tuning())] == ["note"]
    edge, _ = find_tuning_flaws(tuning("learning_rate", stopped_by="tuning: too much"))
    assert "beyond it a trial failed: tuning: too much" in edge.message


def sizes(slope, noise=0.0):
    """Baselines of 80, 100 and 125 parameters on three seeds: ``slope`` per log parameter, and an offset per seed."""
    rows = []
    for seed in range(3):
        for place, parameters in enumerate((80, 100, 125)):
            value = 3.0 + 0.2 * seed + slope * math.log(parameters) + noise * (-1) ** (seed + place)
            rows.append(FinishedExtraRun(RegisteredRun(seed, "d", width=parameters), "done", value, parameters))
    return rows


@pytest.mark.parametrize(("slope", "severity"), [(-0.6, "doubt"), (-0.1, "note"), (0.6, "note")])
def test_a_size_that_makes_more_than_half_of_a_carried_difference_is_doubted(slope, severity):
    arms = {"baseline": 100.0, "idea": 110.0}
    (found,) = find_size_explanations(
        STUDY, {"idea": comparison(*BETTER)}, {"idea": decide(comparison(*BETTER))}, arms, sizes(slope), []
    )
    assert found.severity == severity
    assert found.evidence["slope_per_log_parameter"] == pytest.approx(slope)
    assert found.evidence["expected"] == pytest.approx(slope * math.log(1.1))
    assert found.evidence["standard_error"] == pytest.approx(0, abs=1e-12)


def test_the_error_of_the_slope_is_that_of_least_squares_within_seeds():
    arms = {"baseline": 100.0, "idea": 110.0}
    rows = sizes(-0.3, noise=0.01)
    (found,) = find_size_explanations(
        STUDY, {"idea": comparison(*BETTER)}, {"idea": decide(comparison(*BETTER))}, arms, rows, []
    )
    design = np.array([[math.log(r.parameters), *(r.run.seed == s for s in range(3))] for r in rows], dtype=float)
    values = np.array([r.value for r in rows])
    solution, residuals, *_ = np.linalg.lstsq(design, values, rcond=None)
    variance = residuals[0] / (9 - 4) * np.linalg.inv(design.T @ design)[0, 0]
    assert found.evidence["slope_per_log_parameter"] == pytest.approx(solution[0])
    assert found.evidence["standard_error"] == pytest.approx(math.sqrt(variance))


def test_of_an_arm_of_the_baselines_size_it_is_said_that_size_explains_nothing():
    arms = {"baseline": 100.0, "idea": 100.0}
    (found,) = find_size_explanations(
        STUDY, {"idea": comparison(*BETTER)}, {"idea": decide(comparison(*BETTER))}, arms, sizes(-0.6), []
    )
    assert (found.severity, found.arm) == ("note", "idea")
    assert "as many parameters as the baseline, 100: their number explains nothing of its difference of -0.1" in (
        found.message
    )


def null(floor):
    return NullCalibration("nats", 0.03, 8, 5, 0.01, (0.005, 0.02), floor, (floor, floor), None, {}, {}, {}, ())


@pytest.mark.parametrize(("floor", "severities"), [(0.02, ["doubt"]), (0.01, []), (0.0, [])])
def test_a_margin_below_twice_the_floor_of_rounding_is_doubted(floor, severities):
    assert [finding.severity for finding in find_noise_floor(STUDY, null(floor))] == severities


def test_a_null_arm_is_set_against_what_rounding_makes():
    found = explain_by_rounding(comparison(*BETTER), null(0.0005))
    assert found.evidence["ratio"] == pytest.approx(2.0)
