"""A comparison and its verdict come back from their JSON as they were."""

import json
import math

import pytest

from paribus.design.contrasts import Contrast
from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.design.plain import read_plain
from paribus.judgement import Comparison, Pair, Rule, Verdict, compare, decide, suspend

RULE = Rule(margin=0.01, n_max=4, give_up=0)


def compared(*differences, metric=VAL_LOSS, **fields):
    return compare("new", [Pair(s, 4.0, 4.0 + d) for s, d in enumerate(differences)], RULE, metric, **fields)


@pytest.mark.parametrize(
    "comparison",
    [
        compared(-0.5, -0.51, -0.49),
        compared(0.001, -0.002, 0.0, metric=VAL_ACCURACY, primary=False),
        compared(0.03, -0.03, 0.02, -0.02),
        compared(0.25),
        compared(),
        compare("new", [Pair(0, 4.0, None, treatment_status="diverged")], RULE, VAL_LOSS),
        compared(-0.5, -0.51, -0.49, contrast=Contrast({"baseline": -1.0, "new": 1.0}, ("A", "B"))),
    ],
    ids=["better", "described", "undecided", "one pair", "none", "diverged", "contrast"],
)
def test_a_comparison_comes_back_from_its_json(comparison):
    told = json.loads(json.dumps(comparison.to_json()))
    again = Comparison.from_json(told)
    assert again.to_json() == comparison.to_json()
    assert (again.rule, again.metric, again.outlook) == (comparison.rule, comparison.metric, comparison.outlook)
    assert [math.isnan(d) for d in again.differences] == [math.isnan(d) for d in comparison.differences]
    if comparison.primary:
        assert suspend(again) == suspend(comparison)


def test_a_verdict_comes_back_from_its_json():
    verdict = decide(compared(-0.5, -0.51, -0.49))
    assert read_plain(Verdict, json.loads(json.dumps(verdict.to_json()))) == verdict
