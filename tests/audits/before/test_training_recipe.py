import inspect
import math

import pytest
import torch
from small_studies import BASELINE, TRAINING, make_study
from torch import nn

from paribus.audits import audit_design
from paribus.audits.before.training_recipe import (
    find_missing_extra_rates,
    find_mixed_metric,
    find_odd_schedules,
    require_recipe,
)
from paribus.audits.instruments.observation import APART, Objective
from paribus.design.metrics import VAL_LOSS, Metric
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.errors import TrainingError
from paribus.nn import RMSNorm
from paribus.training import Constant, Cosine, Linear, MuonAdamW, WarmupStableDecay

TRAIN_LOSS = Metric("train_loss", "nats/token")


class Points:
    """Straight lines through the factors given, evenly spaced over the steps."""

    def __init__(self, *factors):
        self.factors = factors

    def __call__(self, step, steps):
        place = step / (steps - 1) * (len(self.factors) - 1)
        i = min(int(place), len(self.factors) - 2)
        return self.factors[i] + (place - i) * (self.factors[i + 1] - self.factors[i])


def points(*factors):
    class Schedule(Points):
        def __init__(self):
            super().__init__(*factors)

    return spec(Schedule)


def audit(schedule, **changes):
    return list(find_odd_schedules(make_study(arm=BASELINE, training=TRAINING.replace(schedule=schedule, **changes))))


@pytest.mark.parametrize(
    "schedule",
    [None, spec(Cosine), spec(Linear), spec(Cosine, floor=0.1), spec(WarmupStableDecay, floor=0.1), points(1, 0)],
)
def test_schedules_that_decay_are_not_suspected(schedule):
    assert audit(schedule) == []


@pytest.mark.parametrize(
    ("schedule", "severity", "words"),
    [
        (spec(Constant), "note", "never decays"),
        (spec(Cosine, floor=0.3), "note", "ends at 0.30 of its peak"),
        (points(1, 0.49), "note", "ends at 0.49 of its peak"),
        (points(1, 0.51), "doubt", "decays to 0.510 of its peak in 100 steps"),
        (points(1, -0.1), "doubt", "go from -0.1 to 1"),
        (points(0, 0), "doubt", "go from 0 to 0"),
        (points(0.5, 0), "note", "largest factor is 0.5"),
        (points(2, 0), "note", "largest factor is 2"),
        (points(0, 0.5, 1, 0), "note", "66% of the 100 steps go by"),
        (points(0, 1), "note", "99% of the 100 steps go by"),
        (points(0, 0.999, 1), "note", "50% of the 100 steps go by"),
        (points(0.995, 1), "note", "never decays"),
        (points(0, 1, 1, 1, 1), "note", "never decays: the last of 100 steps has 1.00"),
    ],
)
def test_an_odd_schedule_is_told_once_for_all_arms(schedule, severity, words):
    (found,) = audit(schedule)
    assert (found.check, found.severity, found.arm) == ("planned schedule", severity, None)
    assert words in found.message


def test_a_cosine_counted_in_five_micro_steps_ends_near_nine_tenths():
    class MicroSteps:
        def __call__(self, step, steps):
            return (1 + math.cos(math.pi * step / (5 * steps))) / 2

    (found,) = audit(spec(MicroSteps))
    assert found.severity == "doubt"
    # Of an angle of pi / 5, less one step: (1 + cos(0.198 pi)) / 2.
    assert found.evidence["last"] == pytest.approx((1 + math.cos(0.198 * math.pi)) / 2)


def test_an_arm_with_another_schedule_is_told_by_name():
    study = make_study(arm=Arm(BASELINE, TRAINING.replace(schedule=spec(Constant))))
    (found,) = find_odd_schedules(study)
    assert found.arm == "arm"


def test_a_long_schedule_is_asked_ten_thousand_times_the_last_step_included():
    asked = []

    class Listening:
        def __call__(self, step, steps):
            asked.append(step)
            return 1 - step / steps

    assert audit(spec(Listening), tokens=96 * 1_000_000) == []
    assert len(asked) == 10_000 and (asked[0], asked[-1]) == (0, 999_999)


def test_a_schedule_that_breaks_in_the_middle_is_refused_before_training():
    class Breaks:
        def __call__(self, step, steps):
            return math.nan if step == 50 else 1.0

    with pytest.raises(TrainingError, match="nan at step 50 of 100"):
        require_recipe(TRAINING.replace(schedule=spec(Breaks)), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("metric", "goal", "is_told"),
    [
        (TRAIN_LOSS, Objective(5 * (1 + 2 * APART), 5.0, {}), True),
        (TRAIN_LOSS, Objective(5 * (1 + APART / 2), 5.0, {}), False),
        (TRAIN_LOSS, Objective(None, None, {"blocks.0.mlp.balance": 0.5}), False),
        (TRAIN_LOSS, None, False),
        (VAL_LOSS, Objective(6.0, 5.0, {}), False),
    ],
)
def test_a_loss_of_its_own_is_told_where_it_is_what_the_study_is_judged_on(metric, goal, is_told):
    study = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)), metric=metric)
    found = list(find_mixed_metric(study, "arm", goal))
    assert [(f.check, f.severity, f.arm) for f in found] == [("metric", "doubt", "arm")] * is_told


class FailsInItsThirdStep(torch.optim.SGD):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken == 3:
            raise RuntimeError("no more steps")
        return super().step(closure)


class RefusesWideTensors(torch.optim.SGD):
    def step(self, closure=None):
        if any(p.shape[-1] == 50 for group in self.param_groups for p in group["params"]):
            raise ValueError("too wide")
        return super().step(closure)


def test_an_optimizer_that_fails_in_its_first_steps_is_refused_with_the_line_that_raised(corpus):
    study = make_study(
        arm=BASELINE.replace("*norm", spec(RMSNorm)),
        training=TRAINING.replace(optimizer=spec(FailsInItsThirdStep, lr=0.1)),
    )
    line = inspect.getsourcelines(FailsInItsThirdStep.step)[1] + 3
    with pytest.raises(TrainingError) as raised:
        audit_design(study, corpus)
    assert str(raised.value) == (
        "arm 'baseline': FailsInItsThirdStep(lr=0.1) fails in step 3: RuntimeError: no more steps "
        f"(test_training_recipe.py:{line} in step)"
    )


def test_an_optimizer_of_the_users_own_is_tried_with_the_tensors_of_every_arm(corpus):
    study = make_study(
        arm=BASELINE.replace("*.d_ff", 50), training=TRAINING.replace(optimizer=spec(RefusesWideTensors, lr=0.1))
    )
    with pytest.raises(TrainingError, match=r"arm 'arm': RefusesWideTensors\(lr=0.1\) fails in step 1"):
        audit_design(study, corpus)


def test_an_argument_that_only_a_step_finds_wrong_is_refused_before_training(corpus):
    study = make_study(
        arm=BASELINE.replace("*norm", spec(RMSNorm)), training=TRAINING.replace(optimizer=spec(MuonAdamW, lr="x"))
    )
    with pytest.raises(TrainingError, match=r"arm 'baseline': MuonAdamW\(lr='x'\) fails in step 1: TypeError"):
        audit_design(study, corpus)


class HasNoRate(torch.optim.SGD):
    def __init__(self, params, pace=0.1):
        super().__init__(params, lr=pace)


def test_a_study_whose_optimizer_has_no_rate_is_told_that_none_is_multiplied():
    training = TRAINING.replace(optimizer=spec(HasNoRate))
    study = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)), training=training)
    (found,) = find_missing_extra_rates(study)
    assert (found.check, found.severity, found.arm) == ("extra rates", "note", None)
    assert "no pair is trained at 0.5 and 2 times the learning rate: HasNoRate of 2 arms has no argument lr" in (
        found.message
    )
    assert list(find_missing_extra_rates(study.replace(extra_rates=()))) == []
    assert list(find_missing_extra_rates(study.replace(training=TRAINING))) == []
