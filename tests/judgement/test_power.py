import math

import numpy as np
import pytest
from scipy import stats

from paribus.errors import JudgementError
from paribus.judgement.power import (
    calibrate_null,
    sd_interval,
    simulate_power,
    smallest_margin,
)
from paribus.judgement.rules import Rule


@pytest.mark.parametrize(
    ("gain", "kind", "chance", "pairs"),
    [(0.0, "equivalent", 0.99, 4.9), (2.0, "better", 0.97, 5.1), (4.0, "better", 1.00, 3.7)],
)
def test_the_power_at_a_margin_of_two_sd_is_that_of_the_published_table(gain, kind, chance, pairs):
    """VERDICT.md, 100,000 experiments per cell: m = 2s."""
    (row,) = simulate_power(Rule(margin=2.0), 1.0, [gain])
    assert getattr(row, kind) == pytest.approx(chance, abs=0.01)
    assert row.pairs == pytest.approx(pairs, abs=0.1)


def test_the_power_at_a_margin_of_one_sd_is_that_of_the_published_table():
    none, one = simulate_power(Rule(margin=1.0), 1.0, [0.0, 1.0])
    assert none.equivalent == pytest.approx(0.44, abs=0.03)  # give-up on
    assert none.pairs == pytest.approx(6.6, abs=0.1)
    assert one.better == pytest.approx(0.61, abs=0.03)
    assert one.pairs == pytest.approx(7.05, abs=0.1)


def test_one_look_has_the_power_of_the_t_test():
    """TTestPower().power(1, 10, .05) = .8030968566."""
    (row,) = simulate_power(Rule(margin=0.0, n_min=10, n_max=10), 1.0, [1.0])
    assert row.better + row.worse == pytest.approx(0.803, abs=0.02)


def test_power_depends_on_ratios_alone_and_its_chances_sum_to_one():
    rows, scaled = simulate_power(Rule(margin=0.02), 0.01), simulate_power(Rule(margin=2.0), 1.0)
    assert [row.gain for row in rows] == [0.0, 0.02, 0.04]
    for row, other in zip(rows, scaled, strict=True):
        assert row.better == other.better
        assert row.better + row.worse + row.equivalent + row.undecided == pytest.approx(1)


def test_a_loss_is_the_mirror_of_a_gain():
    up, down = simulate_power(Rule(margin=2.0), 1.0, [2.0, -2.0])
    assert up.better == pytest.approx(down.worse, abs=0.02)


def test_without_noise_the_smallest_number_of_pairs_settles_everything():
    none, one, two = simulate_power(Rule(margin=0.02), 0.0)
    assert (none.equivalent, none.pairs) == (1.0, 3.0)
    assert (two.better, two.pairs) == (1.0, 3.0)
    assert one.better >= 0.95


def test_an_sd_that_is_none_is_refused():
    for sd in (-1.0, math.nan, math.inf):
        with pytest.raises(JudgementError, match="finite and not negative"):
            simulate_power(Rule(margin=0.1), sd)


def test_the_smallest_margin_settles_and_a_tenth_less_does_not():
    margin = smallest_margin(Rule(margin=0.1), 3.0)
    assert simulate_power(Rule(margin=margin), 3.0, [0.0])[0].equivalent >= 0.8
    assert simulate_power(Rule(margin=0.9 * margin), 3.0, [0.0])[0].equivalent < 0.8


def test_with_one_look_the_smallest_margin_is_that_of_two_one_sided_t_tests():
    """All is exact there: P(|mean| < m - t sd / sqrt n) = .8, by numeric integration over sd."""
    n, level = 10, 0.05
    t = stats.t.isf(level, n - 1)

    def power(margin):
        def inside(v):
            room = np.maximum(0, margin * math.sqrt(n) - t * np.sqrt(v / (n - 1)))
            return 2 * stats.norm.cdf(room) - 1

        grid = np.linspace(1e-6, 60, 20_001)
        return np.trapezoid(inside(grid) * stats.chi2.pdf(grid, n - 1), grid)

    found = smallest_margin(Rule(margin=1.0, n_min=n, n_max=n), 1.0)
    assert power(found) == pytest.approx(0.8, abs=0.02)


def test_with_margin_zero_it_is_the_smallest_gain_that_is_found():
    gain = smallest_margin(Rule(margin=0.0), 1.0)
    assert simulate_power(Rule(margin=0.0), 1.0, [gain])[0].better == pytest.approx(0.8, abs=0.01)


def test_the_interval_of_a_standard_deviation_is_the_textbook_one():
    """n = 10: chi2 quantiles 16.919 and 3.325 with 9 degrees of freedom."""
    low, high = sd_interval(2.0, 10)
    assert low == pytest.approx(2 * math.sqrt(9 / 16.919), rel=1e-4)
    assert high == pytest.approx(2 * math.sqrt(9 / 3.325), rel=1e-4)


BASELINE = (4.00, 4.02, 3.98, 4.01, 3.99)  # sd .0158114 = sqrt(.001 / 4)
NUDGED = (4.001, 4.019, 3.981, 4.009, 3.99)  # differences .001, -.001, .001, -.001, 0: sd .001


def test_a_calibration_measures_the_seeds_and_the_floor():
    found = calibrate_null(BASELINE, NUDGED, Rule(margin=0.02), "nats/token")
    assert found.seed_sd == pytest.approx(math.sqrt(0.00025))
    assert found.floor_sd == pytest.approx(0.001)
    assert found.seed_sd_interval == pytest.approx(sd_interval(found.seed_sd, 5))
    assert found.sds["best"] == pytest.approx(0.001)
    assert found.sds["worst"] == pytest.approx(math.sqrt(0.0005))
    assert found.sds["middle"] == pytest.approx(math.sqrt(0.001 * math.sqrt(0.0005)))
    assert found.correlation == pytest.approx(np.corrcoef(BASELINE, NUDGED)[0, 1])
    assert set(found.powers) == set(found.smallest_margins) == {"best", "middle", "worst"}


@pytest.mark.parametrize(
    ("margin", "said"),
    [
        (0.05, "can be settled within 10 pairs with a chance of 80 % whatever"),
        (0.01, "only where the paired differences have an sd below 0.0077 nats/token; here it lies between 0.001 "),
        (0.0005, "cannot be settled within 10 pairs: rounding alone gives paired differences an sd of 0.001 "),
        (0.0, "With a margin of 0, the smallest difference found within 10 pairs"),
    ],
)
def test_it_says_whether_the_margin_can_be_settled(margin, said):
    found = calibrate_null(BASELINE, NUDGED, Rule(margin=margin), "nats/token")
    assert said in " ".join(found.sentences)


def test_a_copy_that_rounding_does_not_move_has_a_floor_of_zero():
    found = calibrate_null(BASELINE, BASELINE, Rule(margin=0.05))
    assert found.floor_sd == 0
    assert found.floor_sd_interval == (0.0, 0.0)
    assert found.correlation == pytest.approx(1)
    assert found.sds["middle"] > 0
    assert found.powers["best"][0].equivalent == 1


def test_a_calibration_goes_into_json():
    import json

    data = json.loads(json.dumps(calibrate_null(BASELINE, NUDGED, Rule(margin=0.02)).to_json(), allow_nan=False))
    assert data["powers"]["best"][0]["gain"] == 0
    assert data["n_seeds"] == 5


def test_too_few_or_unequal_or_diverged_runs_are_refused():
    with pytest.raises(JudgementError, match="two or more shared seeds; got 1 runs"):
        calibrate_null([1.0], [1.0], Rule(margin=0.1))
    with pytest.raises(JudgementError, match="got 3 runs of the baseline and 2 nudged"):
        calibrate_null([1.0, 2.0, 3.0], [1.0, 2.0], Rule(margin=0.1))
    with pytest.raises(JudgementError, match="diverged"):
        calibrate_null([1.0, 2.0], [1.0, math.nan], Rule(margin=0.1))
