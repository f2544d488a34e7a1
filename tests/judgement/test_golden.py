"""The judge's numbers on Student's sleep data, and those packages that VERDICT.md names as golden sources."""

import numpy as np
import pingouin
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from paribus.design.metrics import Metric
from paribus.judgement import rules
from paribus.judgement.boundaries import Boundaries
from paribus.judgement.comparison import compare, sign_flip_p
from paribus.judgement.looks import Ending, replay
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule

# Student 1908 (Cushny and Peebles 1905): extra hours of sleep of ten patients under two drugs.
G1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
G2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
HOURS = Metric("sleep", "hours")


def sleep_comparison(rule):
    """G1 as the treatment, G2 as the baseline, described without stopping: all ten pairs."""
    pairs = [Pair(seed, before, after) for seed, (before, after) in enumerate(zip(G2, G1, strict=True))]
    return compare("g1", pairs, rule, HOURS, primary=False)


def at_level(level):
    """Boundaries of ordinary t intervals at ``level`` at every look, to hold against packages."""
    c = {n: float(stats.t.ppf(1 - level / 2, n - 1)) for n in range(3, 11)}
    e = {n: float(stats.t.ppf(1 - level, n - 1)) for n in range(3, 11)}
    return Boundaries(level, level, c, e)


def test_mean_over_standard_error_is_the_paired_t_of_scipy():
    found = sleep_comparison(Rule(margin=1))
    t = stats.ttest_rel(G1, G2)
    assert found.mean / found.se_seed == pytest.approx(t.statistic, rel=1e-12)
    assert found.mean / found.se_seed == pytest.approx(-4.062127683, abs=5e-10)
    assert 2 * stats.t.cdf(found.mean / found.se_seed, 9) == pytest.approx(0.002832890, abs=5e-10)


@pytest.mark.parametrize(
    ("level", "low", "high", "unit"), [(0.05, -2.459886, -0.700114, 1e-6), (0.0120331, -2.79921, -0.36079, 1e-5)]
)
def test_the_interval_is_the_t_interval_at_its_level(monkeypatch, level, low, high, unit):
    monkeypatch.setattr(rules, "find_boundaries", lambda *_: at_level(level))
    found = sleep_comparison(Rule(margin=1)).interval
    assert found == pytest.approx((low, high), abs=unit)
    assert found == pytest.approx(tuple(stats.ttest_rel(G1, G2).confidence_interval(1 - level)), rel=1e-9)
    assert found == pytest.approx(
        tuple(pingouin.ttest(G1, G2, paired=True, confidence=1 - level).iloc[0, 4]), abs=0.006
    )


def test_the_registered_interval_is_the_one_of_the_table():
    assert sleep_comparison(Rule(margin=1)).interval == pytest.approx((-2.79921, -0.36079), abs=5e-5)


@pytest.mark.parametrize(("margin", "p"), [(3, 0.0026555703), (2, 0.15415724)])
def test_equivalence_at_one_look_is_two_one_sided_tests(monkeypatch, margin, p):
    """The equivalence interval at level p on each side just touches the margin: TOST's p value is where it flips."""
    assert ttost_paired(np.array(G1), np.array(G2), -margin, margin)[0] == pytest.approx(p, abs=1e-8)
    d = np.subtract(G1, G2)[None, :]
    for level, equivalent in ((p * 1.001, True), (p * 0.999, False)):
        monkeypatch.setattr(rules, "find_boundaries", lambda *_, level=level: at_level(level))
        ending = replay(d, Rule(margin=margin, n_min=10, n_max=10))[0][0]
        assert (Ending(ending) is Ending.EQUIVALENT) is equivalent


def test_exact_sign_flip_p_of_the_sleep_data():
    d = np.subtract(G1, G2)
    assert sign_flip_p(d) == 0.00390625
    scipys = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d) == pytest.approx(scipys.pvalue, rel=1e-12)
    assert sleep_comparison(Rule(margin=1)).sign_flip_p == 0.00390625


@pytest.mark.parametrize(("effect", "n", "power"), [(2, 5, 0.9088848681), (1, 10, 0.8030968566)])
def test_power_of_one_look_is_that_of_statsmodels(monkeypatch, effect, n, power):
    assert TTestPower().power(effect, n, 0.05) == pytest.approx(power, abs=1e-9)
    monkeypatch.setattr(rules, "find_boundaries", lambda *_: at_level(0.05))
    d = np.random.default_rng(3).standard_normal((40_000, n)) + effect
    endings, _ = replay(d, Rule(margin=0, n_min=n, n_max=n))
    assert np.isin(endings, (Ending.BETTER, Ending.WORSE)).mean() == pytest.approx(power, abs=0.008)
