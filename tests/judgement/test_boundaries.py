"""The critical values against VERDICT.md's table, against nested quadrature and against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from paribus.errors import StudyError
from paribus.judgement.boundaries import crossing_probability, find_boundaries, one_sided, two_sided

# VERDICT.md prints .012033 / .027010 for n_max 10; converged, this recursion gives .0120343 / .0270124 (three
# discretizations agree to 1e-8), so its digits are held to their own accuracy: 2e-4 relative plus one printed unit.
TABLE = [
    (0.05, 6, 0.01876, 0.04109, 1e-5),
    (0.05, 8, 0.01437, 0.03197, 1e-5),
    (0.05, 10, 0.012033, 0.027010, 3e-6),
    (0.05, 12, 0.01056, 0.02384, 1e-5),
    (0.05 / 2, 10, 0.00548, 0.01203, 1e-5),
    (0.05 / 3, 10, 0.00349, 0.00758, 1e-5),
    (0.05 / 4, 10, 0.00254, 0.00548, 1e-5),
]


@pytest.mark.parametrize(("error", "n_max", "a_sign", "a_equiv", "unit"), TABLE)
def test_levels_are_those_of_the_table(error, n_max, a_sign, a_equiv, unit):
    found = find_boundaries(error, 3, n_max)
    assert found.a_sign == pytest.approx(a_sign, abs=unit)
    assert found.a_equiv == pytest.approx(a_equiv, abs=unit)


def test_critical_values_are_those_of_the_table():
    found = find_boundaries(0.05, 3, 10)
    assert list(found.c) == list(found.e) == list(range(3, 11))
    assert [round(c, 2) for c in found.c.values()] == [9.03, 5.47, 4.36, 3.85, 3.55, 3.36, 3.23, 3.13]
    assert [round(e, 2) for e in found.e.values()] == [5.96, 4.06, 3.41, 3.09, 2.91, 2.79, 2.70, 2.64]


def test_six_primaries_need_3_4_standard_deviations_at_five_pairs():
    c = find_boundaries(0.05 / 6, 3, 10).c
    assert c[5] / math.sqrt(5) == pytest.approx(3.4, abs=0.05)


@pytest.mark.parametrize("n", [2, 3, 7, 20])
def test_one_look_is_an_ordinary_t_test(n):
    found = find_boundaries(0.05, n, n)
    assert found.c[n] == pytest.approx(stats.t.ppf(0.975, n - 1), rel=1e-9)
    assert found.e[n] == pytest.approx(stats.t.ppf(0.95, n - 1), rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("bound", [0.7, 2.0, 9.0])
def test_crossing_at_one_look_has_the_probability_of_student_t(n, bound):
    assert crossing_probability({n: bound}, two_sided) == pytest.approx(2 * stats.t.sf(bound, n - 1), abs=1e-8)
    assert crossing_probability({n: bound}, one_sided) == pytest.approx(stats.t.sf(bound, n - 1), abs=1e-8)


def test_two_looks_agree_with_the_area_of_the_sphere_that_they_leave():
    """(d1, d2, d3) / |d| is uniform on the sphere, so height and azimuth are uniform: count a shifted grid."""
    bounds = {2: 8.0, 3: 3.0}
    z = np.linspace(-1, 1, 2001)[:-1, None] + 1 / 2000
    shift = np.arange(2000)[:, None] * 0.6180339887 % 1  # rows out of step, so that upright edges average out
    azimuth = (np.arange(2000) + shift) * 2 * math.pi / 2000
    x, y = np.sqrt(1 - z * z) * np.cos(azimuth), np.sqrt(1 - z * z) * np.sin(azimuth)
    t2 = np.abs(x + y) / np.abs(x - y)
    total = x + y + z
    t3 = np.abs(total) / np.sqrt(3) / np.sqrt((1 - total**2 / 3) / 2)
    crossed = ((t2 > bounds[2]) | (t3 > bounds[3])).mean()
    assert crossing_probability(bounds, two_sided) == pytest.approx(crossed, abs=5e-5)
    upper = ((np.sign(x + y) * t2 > bounds[2]) | (np.sign(total) * t3 > bounds[3])).mean()
    assert crossing_probability(bounds, one_sided) == pytest.approx(upper, abs=5e-5)


@pytest.mark.parametrize(("n_min", "n_max"), [(2, 6), (3, 20)])
def test_crossing_probability_agrees_with_simulation(n_min, n_max):
    rng = np.random.default_rng(20260101)
    found = find_boundaries(0.05, n_min, n_max)
    experiments = 400_000
    either, upper = np.zeros(experiments, bool), np.zeros(experiments, bool)
    total, squares = np.zeros(experiments), np.zeros(experiments)
    for n in range(1, n_max + 1):
        d = rng.standard_normal(experiments)
        total += d
        squares += d * d
        if n >= n_min:
            t = total / np.sqrt(n) / np.sqrt((squares - total**2 / n) / (n - 1))
            either |= np.abs(t) > found.c[n]
            upper |= t > found.e[n]
    tolerance = 4 * math.sqrt(0.05 * 0.95 / experiments)
    assert either.mean() == pytest.approx(0.05, abs=tolerance)
    assert upper.mean() == pytest.approx(0.05, abs=tolerance)


@pytest.mark.parametrize(
    ("looks", "error"), [(1, 0.05), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193), (20, 0.248)]
)
def test_repeated_five_percent_looks_inflate_the_error_as_in_the_classical_table(looks, error):
    """Armitage, McPherson and Rowe (1969) for known variance; large blocks make t normal. Simulated here."""
    rng = np.random.default_rng(looks)
    sums = rng.standard_normal((100_000, looks)).cumsum(axis=1)
    z = np.abs(sums) / np.sqrt(np.arange(1, looks + 1))
    assert (z > stats.norm.ppf(0.975)).any(axis=1).mean() == pytest.approx(error, abs=0.004)


@pytest.mark.parametrize(("n_min", "n_max"), [(1, 5), (3, 21), (6, 5)])
def test_looks_that_make_no_sense_are_refused(n_min, n_max):
    with pytest.raises(StudyError, match="n_min"):
        find_boundaries(0.05, n_min, n_max)


def test_an_error_rate_that_makes_no_sense_is_refused():
    with pytest.raises(StudyError, match="error rate"):
        find_boundaries(0.7, 3, 10)
