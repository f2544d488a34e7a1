import json
import math

import numpy as np
import pytest
from comparing import compare_each
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.errors import JudgementError
from paribus.judgement.comparison import compare, sign_flip_p
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.speed import LOG_TIME, TIME_MARGIN, pair_times
from paribus.judgement.verdicts import decide
from paribus.store.records import Record


def pairs_of(differences, first_seed=0, baseline=3.0):
    return [Pair(first_seed + i, baseline + 0.01 * i, baseline + 0.01 * i + d) for i, d in enumerate(differences)]


WILD = [1.0, -1.0, 0.9, -0.9, 0.8, -0.8, 0.7, -0.7, 0.6, -0.6]  # never decided with give_up=0 and a small margin


def test_differences_are_treatment_minus_baseline_for_either_direction_of_the_metric():
    for metric in (VAL_LOSS, VAL_ACCURACY):
        found = compare("arm", pairs_of([-0.5, -0.51, -0.49]), Rule(margin=0.01), metric)
        assert found.differences == pytest.approx((-0.5, -0.51, -0.49))
        assert found.mean == pytest.approx(-0.5)
        assert found.interval[0] < -0.5 < found.interval[1] < 0


def test_a_comparison_is_cut_where_the_rule_stops_and_reads_nothing_beyond():
    near = [-0.5, -0.51, -0.49]
    short = compare("arm", pairs_of(near), Rule(margin=0.01), VAL_LOSS)
    beyond = [*pairs_of(near), Pair(3, 3.0, None, treatment_status="diverged"), Pair(4, 3.0, 99.0)]
    assert compare("arm", beyond, Rule(margin=0.01), VAL_LOSS) == short
    assert short.n_pairs == 3


def test_a_descriptive_comparison_keeps_all_its_pairs():
    found = compare("arm", pairs_of([-0.5, -0.51, -0.49, -0.5]), Rule(margin=0.01), VAL_LOSS, primary=False)
    assert found.n_pairs == 4
    assert found.interval[1] < 0


def test_more_pairs_than_registered_are_refused():
    with pytest.raises(JudgementError, match="11 pairs, but at most 10"):
        compare("arm", pairs_of([*WILD, 0.0]), Rule(margin=0.01), VAL_LOSS)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [((0, 2, 3), "missing"), ((1, 2, 3), "missing"), ((0, 2, 1), "out of order"), ((0, 0, 1), "out of order")],
)
def test_a_missing_pair_or_a_seed_out_of_order_is_refused(seeds, message):
    with pytest.raises(JudgementError, match=message):
        compare("arm", [Pair(seed, 1.0, 2.0 + 0.1 * seed) for seed in seeds], Rule(margin=0.01), VAL_LOSS)


def test_the_first_seed_is_the_registered_one():
    found = compare("arm", pairs_of(WILD[:4], first_seed=100), Rule(margin=0.01, first_seed=100, give_up=0), VAL_LOSS)
    assert found.seeds == (100, 101, 102, 103)


def test_a_failed_run_makes_no_pair():
    with pytest.raises(JudgementError, match=r"treatment's run of seed 4 is 'failed'.*missing"):
        Pair(4, 1.0, None, treatment_status="failed")


def test_correlation_is_pearsons_between_the_arms():
    x, y = [3.0, 3.1, 2.9, 3.3], [3.2, 3.1, 2.8, 3.0]
    pairs = [Pair(i, a, b) for i, (a, b) in enumerate(zip(x, y, strict=True))]
    found = compare("arm", pairs, Rule(margin=0.01, give_up=0), VAL_LOSS)
    assert found.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-12)


def test_one_pair_has_a_mean_and_no_spread():
    found = compare("arm", pairs_of([0.25]), Rule(margin=0.01), VAL_LOSS)
    assert found.mean == 0.25
    assert (found.sd, found.interval, found.correlation, found.sign_flip_p) == (None, None, None, None)


def test_sign_flip_p_counts_all_flips():
    assert sign_flip_p([1, 1, 1, 1, 1, 1]) == 2 / 64
    assert sign_flip_p([1, -1, 1, -1]) == 1
    assert sign_flip_p([0, 0, 0]) == 1
    assert sign_flip_p([3, 0, 1]) == pytest.approx(4 / 8)  # |sum| = 4 in ++, --; the zero doubles both
    assert sign_flip_p([0.1, 0.2, -0.3, 5e-17]) == 1  # a sum of nothing but rounding is tied with every flip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=8))
def test_sign_flip_p_equals_the_enumeration_over_integers(d):
    n = len(d)
    sums = [abs(sum(-x if flips >> i & 1 else x for i, x in enumerate(d))) for flips in range(2**n)]
    assert sign_flip_p(d) == sum(s >= abs(sum(d)) for s in sums) / 2**n


def test_sign_flip_p_is_given_from_six_pairs_on():
    rule = Rule(margin=0.01, give_up=0)
    assert compare("arm", pairs_of(WILD[:5]), rule, VAL_LOSS).sign_flip_p is None
    assert compare("arm", pairs_of(WILD[:6]), rule, VAL_LOSS).sign_flip_p == 1


def test_a_pair_that_dominates_is_named_from_eight_pairs_on():
    rule = Rule(margin=0.01, give_up=0)
    d = [0.1, -0.1, 0.1, 2.0, -0.1, 0.1, -0.1, 0.1]
    found = compare("arm", pairs_of(d), rule, VAL_LOSS)
    squares = (np.array(d) - np.mean(d)) ** 2
    assert (found.dominating_seed, found.dominating_share) == (3, pytest.approx(squares[3] / squares.sum()))
    assert compare("arm", pairs_of(d[:7]), rule, VAL_LOSS).dominating_seed is None
    assert compare("arm", pairs_of(WILD[:8]), rule, VAL_LOSS).dominating_seed is None


def test_a_divergence_leaves_no_numbers_and_keeps_the_pair():
    pairs = [*pairs_of([0.1, 0.2]), Pair(2, 3.0, None, treatment_status="diverged")]
    found = compare("arm", pairs, Rule(margin=0.01), VAL_LOSS)
    assert found.n_pairs == 3
    assert (found.mean, found.interval) == (None, None)
    assert found.to_json()["differences"] == [pytest.approx(0.1), pytest.approx(0.2), None]


def test_json_is_plain_and_survives_a_strict_round_trip():
    rule = Rule(margin=0.01)
    cases = [
        [],
        pairs_of([0.3]),
        pairs_of([0.3, 0.31, 0.29]),
        pairs_of([0.0, 0.0, 0.0]),
        [Pair(0, math.inf, 1.0)],
        [Pair(0, 1.0, math.nan)],
    ]
    for pairs in cases:
        found = compare("arm", pairs, rule, VAL_LOSS).to_json()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert len(found["values"]) == found["n_pairs"] == len(pairs)


def test_the_same_pairs_give_the_same_json_to_the_bit():
    rng = np.random.default_rng(0)
    pairs = pairs_of(rng.standard_normal(8))
    once, again = (json.dumps(compare("arm", pairs, Rule(margin=0.5), VAL_LOSS).to_json()) for _ in range(2))
    assert once == again


def record(seed, loss, status="done", tokens=(10, 30), sums=(20.0, 90.0), **metrics):
    documents = {"tokens": list(tokens), "loss": list(sums)} if status == "done" else {}
    return Record("d", seed, status, {"val_loss": loss, **metrics} if status == "done" else {}, documents=documents)


def test_a_pair_is_made_of_two_records():
    pair = Pair.of_records(record(4, 2.75), record(4, 2.5, sums=(10.0, 90.0)), VAL_LOSS)
    assert (pair.seed, pair.difference) == (4, -0.25)
    assert pair.treatment_documents - pair.baseline_documents == pytest.approx([-1.0, 0.0])
    assert (
        Pair.of_records(record(4, 2.7, val_accuracy=0.1), record(4, 2.5, val_accuracy=0.2), VAL_ACCURACY).weights
        is None
    )


def test_a_pair_of_a_diverged_record_is_kept():
    pair = Pair.of_records(record(4, 2.75), record(4, None, status="diverged"), VAL_LOSS)
    assert pair.treatment_diverged
    assert not pair.baseline_diverged
    assert math.isnan(pair.difference)


def test_records_that_make_no_pair_are_refused():
    with pytest.raises(JudgementError, match="shares its seed"):
        Pair.of_records(record(1, 2.0), record(2, 2.0), VAL_LOSS)
    with pytest.raises(JudgementError, match="different evaluation documents"):
        Pair.of_records(record(1, 2.0), record(1, 2.0, tokens=(11, 29)), VAL_LOSS)
    with pytest.raises(JudgementError, match="no metric 'val_accuracy'"):
        Pair.of_records(record(1, 2.0), record(1, 2.0), VAL_ACCURACY)
    with pytest.raises(JudgementError, match="failed"):
        Pair.of_records(record(1, 2.0), record(1, None, status="failed"), VAL_LOSS)


def test_all_treatments_are_compared_at_their_share_of_alpha():
    near = pairs_of([-0.5, -0.51, -0.49, -0.5])
    alone = compare_each({"a": near}, Rule(margin=0.01), VAL_LOSS)["a"]
    rule = Rule(margin=0.01, n_primary=2, give_up=0)
    found = compare_each({"a": near, "b": pairs_of(WILD[:4]), "c": near}, rule, VAL_LOSS, primary=("a", "b"))
    assert [comparison.primary for comparison in found.values()] == [True, True, False]
    assert found["a"].interval[0] < alone.interval[0]
    assert decide(found["a"]).kind == "better"
    assert decide(found["b"]) is None
    assert found["c"].n_pairs == 4


def test_times_are_judged_on_the_log_of_their_ratio():
    pairs = pair_times([1.0, 2.0, 4.0], [1.1, 2.2002, 4.4])
    found = compare("arm", pairs, Rule(margin=TIME_MARGIN), LOG_TIME)
    assert found.mean == pytest.approx(math.log(1.1), abs=1e-4)
    assert pytest.approx(0.0198026, abs=1e-7) == TIME_MARGIN
    verdict = decide(found)
    assert (verdict.kind, verdict.qualifier) == ("worse", "by more than the margin")
    assert decide(
        compare("arm", pair_times([1.0, 2.0, 3.0], [1.001, 1.999, 3.0]), Rule(margin=TIME_MARGIN), LOG_TIME)
    ).kind == ("equivalent")


def test_times_that_are_none_are_refused():
    with pytest.raises(JudgementError, match="positive"):
        pair_times([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(JudgementError, match="2 blocks"):
        pair_times([1.0, 1.0], [1.0])
