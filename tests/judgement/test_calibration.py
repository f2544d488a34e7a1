"""Simulated experiments through the judge's own code path: error rates, coverage, power, mutations that must fail."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from paribus.design.metrics import Metric
from paribus.judgement import looks, rules
from paribus.judgement.comparison import compare
from paribus.judgement.looks import Ending, half_widths, replay
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import decide

EXPERIMENTS = 20_000
NOISE = np.random.default_rng(71).standard_normal((EXPERIMENTS, 10))
THREE_SE = 3 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)


def share(endings, *kinds):
    return np.isin(endings, kinds).mean()


def intervals_at_stopping(d, stops, rule, se_doc=0.0):
    """Mean and half width of the reported interval, per experiment."""
    mean, h = np.empty(len(d)), np.empty(len(d))
    for n in np.unique(stops):
        rows = stops == n
        part = d[rows, :n]
        mean[rows] = part.mean(axis=1)
        h[rows] = half_widths(n, part.std(axis=1, ddof=1), rule, se_doc)[0]
    return mean, h


@pytest.mark.parametrize("give_up", [0.0, 0.10])
def test_identical_arms_get_a_sign_verdict_in_five_percent_of_experiments(give_up):
    endings, _ = replay(NOISE, Rule(margin=0, give_up=give_up))
    assert share(endings, Ending.BETTER, Ending.WORSE) == pytest.approx(0.05, abs=0.005)
    assert share(endings, Ending.EQUIVALENT, Ending.IDENTICAL) == 0


@pytest.mark.parametrize("give_up", [0.0, 0.10])
@pytest.mark.parametrize("true", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_the_reported_interval_covers_the_truth_at_stopping(true, margin, give_up):
    rule = Rule(margin=margin, give_up=give_up)
    d = NOISE + true
    _, stops = replay(d, rule)
    mean, h = intervals_at_stopping(d, stops, rule)
    assert (np.abs(mean - true) < h).mean() >= 0.945


@pytest.mark.parametrize("se_doc", [0.25, 0.5])
def test_the_interval_with_document_noise_covers_the_truth_at_stopping(se_doc):
    rule = Rule(margin=1.0)
    documents = np.random.default_rng(8).standard_normal((EXPERIMENTS, 1)) * se_doc
    d = NOISE + documents
    _, stops = replay(d, rule, se_doc)
    mean, h = intervals_at_stopping(d, stops, rule, se_doc)
    assert (np.abs(mean) < h).mean() >= 0.95 - THREE_SE
    without = intervals_at_stopping(d, stops, rule)[1]
    assert (np.abs(mean) < without).mean() < (np.abs(mean) < h).mean()


def test_document_noise_in_the_decision_keeps_its_error():
    documents = np.random.default_rng(9).standard_normal((EXPERIMENTS, 1)) * 0.5
    endings, _ = replay(NOISE + documents, Rule(margin=0), 0.5)
    assert share(endings, Ending.BETTER, Ending.WORSE) <= 0.05 + THREE_SE


@pytest.mark.parametrize("give_up", [0.0, 0.10])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_a_difference_as_large_as_the_margin_is_called_equivalent_at_most_five_percent_of_the_time(
    margin, side, give_up
):
    endings, _ = replay(NOISE + side * margin, Rule(margin=margin, give_up=give_up))
    assert share(endings, Ending.EQUIVALENT) <= 0.05 + THREE_SE


def test_heavy_tails_make_the_judge_no_more_than_slightly_wrong():
    d = np.random.default_rng(5).standard_t(5, size=(EXPERIMENTS, 10))
    endings, _ = replay(d, Rule(margin=0, give_up=0))
    assert share(endings, Ending.BETTER, Ending.WORSE) <= 0.055


def test_four_null_arms_against_one_baseline_have_the_family_error():
    rng = np.random.default_rng(6)
    arms = rng.standard_normal((4, EXPERIMENTS, 10))
    baseline = rng.standard_normal((EXPERIMENTS, 10))
    rule = Rule(margin=0, n_primary=4, give_up=0)
    wrong = [np.isin(replay(arm - baseline, rule)[0], (Ending.BETTER, Ending.WORSE)) for arm in arms]
    assert 0.042 - THREE_SE < np.any(wrong, axis=0).mean() < 0.052
    independent = [np.isin(replay(arm, rule)[0], (Ending.BETTER, Ending.WORSE)) for arm in arms]
    assert 0.042 < np.any(independent, axis=0).mean() < 0.052


# margin, true difference, give-up, wanted ending, its share, mean number of pairs: VERDICT.md, in units of s.
OPERATING = [
    (2, 0, 0.10, Ending.EQUIVALENT, 0.99, 4.9),
    (2, -2, 0.10, Ending.BETTER, 0.97, 5.1),
    (2, 2, 0.10, Ending.WORSE, 0.97, 5.1),
    (2, -4, 0.10, Ending.BETTER, 1.00, 3.7),
    (1, -1, 0.00, Ending.BETTER, 0.61, 7.85),
    (1, -1, 0.10, Ending.BETTER, 0.61, 7.05),
    (1, 0, 0.00, Ending.EQUIVALENT, 0.51, 8.5),
    (1, 0, 0.10, Ending.EQUIVALENT, 0.44, 6.6),
]


@pytest.mark.parametrize(("margin", "true", "give_up", "wanted", "chance", "pairs"), OPERATING)
def test_operating_characteristics_are_those_of_the_table(margin, true, give_up, wanted, chance, pairs):
    endings, stops = replay(NOISE + true, Rule(margin=margin, give_up=give_up))
    assert share(endings, wanted) == pytest.approx(chance, abs=0.013)
    assert stops.mean() == pytest.approx(pairs, abs=0.06)


def test_the_interval_excludes_zero_in_4_5_percent_of_null_experiments_with_a_margin():
    rule = Rule(margin=1, give_up=0)
    _, stops = replay(NOISE, rule)
    mean, h = intervals_at_stopping(NOISE, stops, rule)
    assert (np.abs(mean) > h).mean() == pytest.approx(0.045, abs=0.005)


def false_positive_rate():
    return share(replay(NOISE, Rule(margin=0, give_up=0))[0], Ending.BETTER, Ending.WORSE)


def test_mutation_five_percent_at_every_look_is_wrong_in_one_experiment_of_six(monkeypatch):
    naive = {n: float(stats.t.ppf(0.975, n - 1)) for n in range(3, 11)}
    monkeypatch.setattr(rules, "find_boundaries", lambda *_: SimpleNamespace(c=naive, e=naive))
    assert false_positive_rate() == pytest.approx(0.167, abs=0.01)


def test_mutation_a_standard_deviation_with_ddof_zero_breaks_the_error_rate(monkeypatch):
    monkeypatch.setattr(looks, "moments", lambda d: (d.mean(axis=1), d.std(axis=1, ddof=0)))
    assert false_positive_rate() > 0.06


def test_mutation_a_forgotten_square_root_of_n_breaks_the_error_rate(monkeypatch):
    honest = looks.half_widths
    monkeypatch.setattr(looks, "half_widths", lambda n, *rest: tuple(math.sqrt(n) * h for h in honest(n, *rest)))
    assert false_positive_rate() < 0.03


def test_one_experiment_at_a_time_gives_the_same_verdicts_as_all_at_once():
    """decide() on 300 experiments, pair by pair as the lab calls it, against replay() on the whole array."""
    rng = np.random.default_rng(12)
    d = rng.choice([-2, -0.5, 0, 1, 2], size=(300, 1)) + rng.standard_normal((300, 10))
    metric = Metric("val_loss", "nats/token")
    kinds = {
        Ending.BETTER: "better",
        Ending.WORSE: "worse",
        Ending.EQUIVALENT: "equivalent",
        Ending.EXHAUSTED: "undecided",
        Ending.UNLIKELY: "undecided",
    }
    rule = Rule(margin=1.0)
    endings, stops = replay(d, rule)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paribus.judgement.comparison.plan_seeds", lambda *_: None)  # tested on its own; slow
        for i in range(len(d)):
            pairs = [Pair(seed, 0.0, float(d[i, seed])) for seed in range(10)]
            for n in range(1, 11):
                verdict = decide(compare("arm", pairs[:n], rule, metric))
                if verdict:
                    break
            assert (verdict.kind, verdict.n_pairs) == (kinds[endings[i]], stops[i])
    assert len(set(endings)) == 5
