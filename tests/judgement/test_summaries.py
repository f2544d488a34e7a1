import statistics

import numpy as np
import pytest

from paribus.judgement.summaries import summarize_arm
from paribus.records import Record


def summarize(*values):
    return summarize_arm([Record(str(i), i, "done", metrics={"x": value}) for i, value in enumerate(values)])[
        "metrics"
    ]["x"]


def test_the_spread_of_an_arm_is_the_standard_deviation_over_its_seeds():
    assert summarize(1.0, 2.0, 4.0)["sd"] == pytest.approx(statistics.stdev([1.0, 2.0, 4.0]))
    assert summarize(1.0)["sd"] is None


def test_equal_values_have_no_spread_though_their_mean_is_rounded():
    assert np.mean([0.1] * 3) != 0.1
    assert summarize(0.1, 0.1, 0.1)["sd"] == 0
