import statistics

import numpy as np
import pytest

from paribus.judgement.summaries import summarize_arm
from paribus.store.records import Record


def summarize(*values):
    arm = summarize_arm([Record(str(i), i, "done", metrics={"x": value}) for i, value in enumerate(values)])
    return arm.metrics["x"]


def test_the_spread_of_an_arm_is_the_standard_deviation_over_its_seeds():
    assert summarize(1.0, 2.0, 4.0).sd == pytest.approx(statistics.stdev([1.0, 2.0, 4.0]))
    assert summarize(1.0).sd is None


def test_equal_values_have_no_spread_though_their_mean_is_rounded():
    assert np.mean([0.1] * 3) != 0.1
    assert summarize(0.1, 0.1, 0.1).sd == 0


def make_run(seed, losses, final=()):
    """A run scored at 0, 100 and 200 tokens, after 0, 2 and 4 seconds and one more a seed; and again at its end."""
    rows = list(zip((0, 1, 2), losses, strict=True)) + [(2, loss) for loss in final]
    evaluations = tuple(
        {"step": step, "tokens": 100 * step, "loss": loss, "measured": {"training_seconds": 2.0 * step + seed}}
        for step, loss in rows
    )
    return Record(str(seed), seed, "done", metrics={"val_loss": evaluations[-1]["loss"]}, evaluations=evaluations)


def test_the_curve_of_an_arm_ends_before_the_final_score():
    arm = summarize_arm([make_run(0, (6.0, 4.0, 3.0), [2.0]), make_run(1, (8.0, 5.0, 4.0), [2.5])])
    curve = arm.curve
    assert (curve.steps, curve.tokens) == ((0, 1, 2), (0, 100, 200))
    assert curve.loss == ((6.0, 4.0, 3.0), (8.0, 5.0, 4.0))
    assert (curve.mean, curve.low, curve.high) == ((7.0, 4.5, 3.5), (6.0, 4.0, 3.0), (8.0, 5.0, 4.0))
    assert curve.is_apart is True
    assert arm.curve_seconds == (0.5, 2.5, 4.5)
    assert arm.metrics["val_loss"].values == (2.0, 2.5)


def test_a_final_score_that_is_the_curves_own_end_is_its_last_point():
    arm = summarize_arm([make_run(0, (6.0, 4.0, 3.0))])
    assert (arm.curve.tokens, arm.curve.loss) == ((0, 100, 200), ((6.0, 4.0, 3.0),))
    assert arm.curve.is_apart is False
    assert arm.curve_seconds == (0.0, 2.0, 4.0)
