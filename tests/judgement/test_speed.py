import math

import pytest

from paribus.errors import JudgementError
from paribus.judgement.rules import Rule
from paribus.judgement.speed import LOG_TIME, TIME_MARGIN, judge_times, pair_times

RULE = Rule(margin=TIME_MARGIN)
QUIET = [1.000, 1.001, 0.999]


def judge(own, baseline=QUIET, rule=RULE):
    return judge_times({"baseline": baseline, "idea": own}, rule)["idea"]


@pytest.mark.parametrize(
    ("ratios", "kind"),
    [
        ((1.101, 1.100, 1.102), "slower"),
        ((0.901, 0.900, 0.902), "faster"),
        ((1.001, 1.000, 1.002), "equal within 2 %"),
        ((1.3, 0.8, 1.1), "undecided"),
    ],
)
def test_a_ratio_of_times_gets_a_verdict_in_words(ratios, kind):
    verdict = judge([before * ratio for before, ratio in zip(QUIET, ratios, strict=True)])
    assert verdict.kind == kind
    assert verdict.decided == (kind != "undecided")
    assert verdict.rounds == 3


def test_the_ratio_is_a_geometric_mean_and_its_interval_the_t_interval_of_the_logs():
    """Logs .09, .10, .11: mean .10, sd .01; c_3 = 9.03 standard errors (VERDICT.md)."""
    verdict = judge([math.exp(x) for x in (0.09, 0.10, 0.11)], [1.0, 1.0, 1.0])
    half = 9.03 * 0.01 / math.sqrt(3)
    assert verdict.ratio == pytest.approx(math.exp(0.10))
    assert verdict.interval == pytest.approx((math.exp(0.10 - half), math.exp(0.10 + half)), rel=1e-3)
    assert verdict.equivalence_interval[0] > verdict.interval[0]


def test_a_decided_arm_has_fewer_rounds_and_is_read_against_the_first_of_the_baseline():
    verdict = judge([1.101, 1.102, 1.100], [1.0, 1.001, 1.0, 9.0, 9.0])
    assert (verdict.kind, verdict.rounds) == ("slower", 3)


def test_before_the_first_round_nothing_is_known():
    verdict = judge([], [])
    assert verdict.to_json() == {
        "kind": "undecided",
        "ratio": None,
        "interval": None,
        "equivalence_interval": None,
        "rounds": 0,
    }


def test_a_clock_too_coarse_to_differ_is_no_verdict():
    assert judge([1.1, 1.1, 1.1], [1.0, 1.0, 1.0]).kind == "undecided"


def test_several_arms_share_the_error_rate():
    two = Rule(margin=TIME_MARGIN, n_primary=2)
    alone, shared = judge([1.10, 1.11, 1.12]), judge([1.10, 1.11, 1.12], rule=two)
    assert shared.interval[0] < alone.interval[0]


def test_times_are_paired_in_logs():
    pairs = pair_times([1.0, 2.0], [2.0, 2.0], first_seed=5)
    assert [pair.seed for pair in pairs] == [5, 6]
    assert [pair.difference for pair in pairs] == pytest.approx([math.log(2), 0.0])
    assert LOG_TIME.better == "lower"


def test_impossible_times_are_refused():
    with pytest.raises(JudgementError, match="1 blocks of the baseline against 2"):
        pair_times([1.0], [1.0, 2.0])
    with pytest.raises(JudgementError, match="positive and finite"):
        pair_times([1.0], [0.0])
