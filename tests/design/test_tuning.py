import math

import pytest

from paribus.design.specs import spec
from paribus.design.tuning import Tuning, learning_rates, set_hyperparameters
from paribus.errors import StudyError
from toy_study import RECIPE, Optimizer, make_study


class TwoRates:
    def __init__(self, params, lr=0.02, adamw_lr=0.01, color="red"):
        pass


class NoRate:
    def __init__(self, params, step_size=0.1):
        pass


def test_a_grid_tries_every_combination_of_the_values():
    tuning = Tuning(over={"learning_rate": (0.5, 1.0), "clip": (1.0, 2.0, 4.0)})
    assert len(tuning.points) == 6
    assert {"learning_rate": 1.0, "clip": 4.0} in tuning.points
    assert len({tuple(point.items()) for point in tuning.points}) == 6


@pytest.mark.parametrize("trials", [2, 5, 16])
def test_quasi_random_points_fill_the_range_evenly_in_logs_and_are_the_same_every_time(trials):
    tuning = Tuning(over={"learning_rate": (0.01, 100.0)}, trials=trials)
    values = [point["learning_rate"] for point in tuning.points]
    assert len(values) == trials
    assert all(0.01 <= value <= 100 for value in values)
    assert tuning.points == Tuning(over={"learning_rate": (0.01, 100.0)}, trials=trials).points
    if trials == 16:  # a Sobol sequence of 2^k points has one in each of 2^k equal cells
        cells = sorted(int((math.log10(value) + 2) / 4 * 16) for value in values)
        assert cells == list(range(16))


def test_the_learning_rate_multiplies_every_rate_of_the_optimizer_and_nothing_else():
    recipe = RECIPE.replace(optimizer=spec(TwoRates, adamw_lr=0.03))
    tuned = set_hyperparameters(recipe, {"learning_rate": 2.0})
    assert learning_rates(tuned.optimizer) == {"lr": 0.04, "adamw_lr": 0.06}
    assert tuned.optimizer["color"] == "red"
    assert tuned.replace(optimizer=recipe.optimizer) == recipe


def test_any_other_hyperparameter_is_a_path_of_the_recipe():
    tuned = set_hyperparameters(RECIPE, {"optimizer.lr": 0.5, "clip": 3.0})
    assert tuned.optimizer["lr"] == 0.5
    assert tuned.clip == 3.0


@pytest.mark.parametrize(
    ("optimizer", "point", "said"),
    [
        (NoRate, {"learning_rate": 2.0}, "NoRate has no learning rate"),
        (Optimizer, {"optimiser.lr": 2.0}, "did you mean 'optimizer.lr'"),
        (Optimizer, {"lr": 2.0}, "did you mean 'optimizer.lr'. 'learning_rate' multiplies every rate"),
        (Optimizer, {"tokens": 2.0}, "'tokens' cannot be tuned: the arms keep equal tokens"),
        (Optimizer, {"evaluation_side": 2.0}, "cannot be tuned"),
        (Optimizer, {"optimizer": 2.0}, "name one below it"),
        (Optimizer, {"optimizer.le": 2.0}, "'lr'"),
        (Optimizer, {"schedule.warmup": 0.1}, "schedule is None, no spec"),
    ],
)
def test_a_hyperparameter_that_is_not_there_is_named(optimizer, point, said):
    with pytest.raises(StudyError, match=said):
        set_hyperparameters(RECIPE.replace(optimizer=spec(optimizer)), point)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"over": {}}, "over is a dict"),
        ({"over": {"learning_rate": (1.0,)}}, "at least two values"),
        ({"over": {"learning_rate": (2.0, 1.0)}}, "must ascend"),
        ({"over": {"learning_rate": (0.0, 1.0)}}, "must be positive"),
        ({"over": {"learning_rate": "fast"}}, "at least two values"),
        ({"over": {"clip": (0.0, 1.0)}, "trials": 4}, "must be positive"),
        ({"trials": 1}, "trials must be a whole number of at least 2"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1"),
        ({"extensions": 1.5}, "extensions must be a whole number"),
    ],
)
def test_values_that_cannot_be_tried_are_refused_with_a_sentence(fields, said):
    with pytest.raises(StudyError, match=said):
        Tuning(**fields)


def test_an_edge_is_the_smallest_or_largest_value_of_a_grid_and_0_is_none():
    tuning = Tuning(over={"learning_rate": (0.5, 1.0, 2.0), "optimizer.weight_decay": (0.0, 0.1, 0.2)})
    assert [tuning.is_edge("learning_rate", value) for value in (0.5, 1.0, 2.0)] == [True, False, True]
    assert [tuning.is_edge("optimizer.weight_decay", value) for value in (0.0, 0.1, 0.2)] == [False, False, True]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_of_drawn_points_one_in_twenty_lies_at_an_edge(dimensions):
    tuning = Tuning(
        over=dict.fromkeys(("learning_rate", "clip", "optimizer.lr")[:dimensions], (0.01, 100.0)), trials=4096
    )
    at_an_edge = [any(tuning.is_edge(name, value) for name, value in point.items()) for point in tuning.points]
    assert abs(sum(at_an_edge) / 4096 - 0.05) < 0.01
    assert tuning.is_edge("learning_rate", 0.0101) and not tuning.is_edge("learning_rate", 1.0)


def test_a_grid_grows_by_its_last_ratio_and_one_with_a_zero_by_its_last_difference():
    assert Tuning(over={"learning_rate": (1.0, 3.0)}).extend("learning_rate", True).over["learning_rate"] == (1, 3, 9)
    assert Tuning(over={"learning_rate": (1.0, 4.0)}).extend("learning_rate", False).over["learning_rate"] == (
        0.25,
        1,
        4,
    )
    assert Tuning(over={"clip": (0.0, 0.1, 0.2)}).extend("clip", True).over["clip"] == (0.0, 0.1, 0.2, 0.3)
    grown = Tuning(over={"optimizer.steps": (2, 3)}).extend("optimizer.steps", True).over["optimizer.steps"]
    assert grown == (2, 3, 4) and isinstance(grown[-1], int)


def test_a_study_refuses_to_tune_on_a_seed_of_its_verdict():
    with pytest.raises(StudyError, match=r"tuning runs on seed 9, which is one of the verdict's \(0 to 9\)"):
        make_study(tuning=Tuning(first_seed=9))
    assert make_study(tuning=Tuning(first_seed=10)).tuning.run_seeds == range(10, 11)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tuning": {"lr": 1}}, "tuning must be a Tuning"),
        ({"tuning": Tuning(over={"optimizer.lrr": (1, 2)})}, "'lr'"),
        ({"extra_rates": (1.0,)}, "factors other than 1"),
        ({"extra_rates": 2.0}, "extra_rates is a tuple"),
        ({"width_response": 3}, "width_response is a path pattern"),
    ],
)
def test_a_study_refuses_trials_that_make_no_sense(fields, said):
    with pytest.raises(StudyError, match=said):
        make_study(**fields)


def test_a_registered_study_says_how_it_was_to_be_tuned():
    plain = make_study(tuning=Tuning(over={"learning_rate": (0.5, 1.0)})).to_json()
    assert plain["tuning"]["over"] == {"learning_rate": [0.5, 1.0]}
    assert plain["extra_rates"] == [0.5, 2.0]
