"""Tuning, with a loss in closed form in place of training."""

import json
import math

import pytest

from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS, Metric
from paribus.design.plain import read_plain, to_plain
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.design.tuning import Tuning
from paribus.errors import StudyError
from paribus.experiment.plan import Environment, plan
from paribus.experiment.tuner import tune
from paribus.judgement.tuned import Tuned
from paribus.store.records import Record
from toy_study import RECIPE, Part, make_study

HERE = Environment("data", "cpu", "2.13.0")


def loss(rate, best):
    """A parabola over log rates with its lowest point at ``best``."""
    return math.log(rate / best) ** 2


def tuned(study, value, ran=None):
    """``tune`` with ``value(arm name, learning rate, seed)`` for the metric; None for a run that diverged."""

    def run(trials):
        records = {}
        for trial in trials:
            if ran is not None:
                ran.append(trial)
            found = value(trial.about["arm"], trial.arm.training.optimizer["lr"], trial.run.seed)
            status = "diverged" if found is None else "done"
            records[trial.run.digest] = Record(
                trial.run.digest, trial.run.seed, status, metrics={study.metric.key: found}
            )
        return records

    return tune(plan(study, HERE), run)


def rates(study):
    return {name: arm.training.optimizer["lr"] for name, arm in study.arms.items()}


def test_each_arm_gets_the_recipe_that_is_best_for_itself():
    best = {"baseline": 0.1, "wide": 0.2}
    study, found = tuned(make_study(tuning=Tuning()), lambda arm, rate, seed: loss(rate, best[arm]))
    assert rates(study) == best
    assert found.arms["wide"].best == {"learning_rate": 2.0}
    assert found.arms["wide"].edges == ()
    assert found.points_added == 0


def test_every_arm_has_the_same_points_and_seeds_and_none_of_the_verdicts():
    ran = []
    study = make_study(tuning=Tuning(seeds=2))
    tuned(study, lambda arm, rate, seed: loss(rate, 0.1), ran)
    tried = {
        arm: sorted((t.about["point"]["learning_rate"], t.run.seed) for t in ran if t.about["arm"] == arm)
        for arm in study.arms
    }
    assert tried["baseline"] == tried["wide"]
    assert len(tried["wide"]) == 5 * 2
    assert not {seed for _, seed in tried["wide"]} & set(plan(study, HERE).seeds)


def test_a_grid_grows_for_all_arms_where_one_is_best_at_its_edge():
    best = {"baseline": 0.1, "wide": 0.8}
    study, found = tuned(make_study(tuning=Tuning(extensions=2)), lambda arm, rate, seed: loss(rate, best[arm]))
    assert rates(study) == pytest.approx(best)
    assert found.points_added == 2  # 8, and 16, which shows that 8 is no edge
    assert {len(arm.curve) for arm in found.arms.values()} == {7}
    assert found.arms["wide"].edges == ()


def test_a_best_value_beyond_the_last_extension_stays_at_the_edge_and_says_so():
    _, found = tuned(make_study(tuning=Tuning(extensions=1)), lambda arm, rate, seed: loss(rate, 1000.0))
    assert found.arms["wide"].best == {"learning_rate": 8.0}
    assert found.arms["wide"].edges == ("learning_rate",)


def test_the_mean_over_seeds_decides_and_a_diverged_seed_rules_a_point_out():
    noise = {5000: 0.0, 5001: 10.0}

    def value(arm, rate, seed):
        return None if rate > 0.15 and seed == 5001 else loss(rate, 0.2) + noise[seed]

    study, found = tuned(make_study(tuning=Tuning(seeds=2)), value)
    assert rates(study) == {"baseline": 0.1, "wide": 0.1}
    at = {trial.point["learning_rate"]: trial for trial in found.arms["wide"].curve}
    assert at[2.0].value is None and at[2.0].values[1] is None
    assert at[1.0].value == pytest.approx(loss(0.1, 0.2) + 5.0)


def test_for_an_accuracy_the_highest_is_the_best():
    study = make_study(tuning=Tuning(), metric=VAL_ACCURACY)
    best, _ = tuned(study, lambda arm, rate, seed: -loss(rate, 0.2))
    assert rates(best) == {"baseline": 0.2, "wide": 0.2}


def test_a_treatment_with_a_recipe_of_its_own_is_tuned_around_it():
    own = RECIPE.replace(optimizer=RECIPE.optimizer.replace("lr", 0.3))
    study = make_study(treatments={"wide": Arm(spec(Part, width=2), own)}, tuning=Tuning())
    best, _ = tuned(study, lambda arm, rate, seed: loss(rate, {"baseline": 0.1, "wide": 0.6}[arm]))
    assert rates(best) == pytest.approx({"baseline": 0.1, "wide": 0.6})


def test_an_arm_of_which_every_trial_diverges_cannot_be_tuned():
    with pytest.raises(StudyError, match="all 5 trials of 'wide' diverged"):
        tuned(make_study(tuning=Tuning()), lambda arm, rate, seed: None if arm == "wide" else 1.0)


def test_a_trial_that_fails_stops_the_tuning_with_its_reason():
    def run(trials):
        return {t.run.digest: Record(t.run.digest, t.run.seed, "failed", error="ValueError: odd\n...") for t in trials}

    with pytest.raises(StudyError, match=r"'baseline, learning_rate 0.25' \(seed 5000\) failed: ValueError: odd"):
        tune(plan(make_study(tuning=Tuning()), HERE), run)


def test_trials_are_scored_on_the_validation_side_though_the_verdict_is_on_documents_held_back():
    ran = []
    study = make_study(training=RECIPE.replace(evaluation_side="confirm"), tuning=Tuning())
    best, _ = tuned(study, lambda arm, rate, seed: loss(rate, 0.1), ran)
    assert {trial.arm.training.evaluation_side for trial in ran} == {"validation"}
    assert {arm.training.evaluation_side for arm in best.arms.values()} == {"confirm"}


def test_an_edge_that_gains_less_than_a_tenth_of_the_margin_is_none():
    for slope, edges in ((0.09, ()), (0.11, ("learning_rate",))):
        study = make_study(tuning=Tuning(extensions=0), margin=1.0)
        _, found = tuned(study, lambda arm, rate, seed, slope=slope: -slope * math.log2(rate / 0.1))
        assert found.arms["wide"].edges == edges


def test_a_value_beyond_the_grid_that_no_run_survives_ends_the_search_and_stays_an_edge():
    def run(trials):
        records = {}
        for trial in trials:
            rate = trial.arm.training.optimizer["lr"]
            broken = rate > 0.5
            metrics = {} if broken else {"val_loss": loss(rate, 100.0)}
            error = "ValueError: too much" if broken else None
            record = Record(trial.run.digest, trial.run.seed, "failed" if broken else "done", metrics, error=error)
            records[trial.run.digest] = record
        return records

    study, found = tune(plan(make_study(tuning=Tuning()), HERE), run)
    assert rates(study) == {"baseline": 0.4, "wide": 0.4}
    assert found.arms["wide"].edges == ("learning_rate",)
    assert found.points_added == 0
    assert "ValueError: too much" in found.stopped_by


def test_the_report_names_every_run_of_every_trial():
    ran = []
    _, found = tuned(make_study(tuning=Tuning(seeds=2)), lambda arm, rate, seed: loss(rate, 0.1), ran)
    told = {digest for arm in found.arms.values() for trial in arm.curve for digest in trial.digests}
    assert told == {trial.run.digest for trial in ran}


def test_a_tuning_comes_back_from_its_json():
    _, found = tuned(
        make_study(tuning=Tuning(seeds=2)), lambda arm, rate, seed: loss(rate, 0.1) if rate < 0.3 else None
    )
    assert read_plain(Tuned, json.loads(json.dumps(to_plain(found)))) == found


def own(logits, targets):
    return logits.amax(-1)


def test_with_a_metric_of_ones_own_the_report_names_the_same_runs_without_it():
    plain, measured = (
        tuned(make_study(tuning=Tuning(), metric=metric), lambda arm, rate, seed: loss(rate, 0.1))[1].arms["wide"]
        for metric in (VAL_LOSS, Metric("own", "1", measure=own))
    )
    assert "unmeasured" not in plain.curve[0].to_json()
    assert [trial.unmeasured for trial in measured.curve] == [trial.digests for trial in plain.curve]
