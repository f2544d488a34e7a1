"""A verdict on an arm that started far from the baseline's scale is doubted; no other is."""

import math

import pytest

from paribus.audits.after.starting_scale import find_verdicts_on_scale
from paribus.judgement import Verdict
from paribus.store.records import Finding


def verdict(kind):
    return Verdict("idea", kind, f"idea is {kind}", "", (), (), (), 3)


def start(ratio, arm="idea", severity="note", check="initial scale"):
    return Finding(check, severity, "it starts otherwise", arm, "blocks.0.mlp", {"ratios": {"blocks.0.mlp": ratio}})


def doubts(kind, *found):
    return list(find_verdicts_on_scale({"idea": kind and verdict(kind), "other": verdict("worse")}, found))


@pytest.mark.parametrize("kind", ["better", "worse"])
@pytest.mark.parametrize("ratio", [9.5, 1 / 9.5, 0.0, math.inf, None])  # a store holds an infinite ratio as null
def test_better_or_worse_at_another_scale_is_a_doubt_at_the_part(kind, ratio):
    (doubt,) = doubts(kind, start(ratio))
    assert (doubt.severity, doubt.arm, doubt.site) == ("doubt", "idea", "blocks.0.mlp")
    assert f"came out {kind}" in doubt.message


@pytest.mark.parametrize("kind", ["equivalent", "undecided", "invalid", None])
def test_a_verdict_that_says_no_difference_is_none(kind):
    assert not doubts(kind, start(9.5))


@pytest.mark.parametrize(
    "finding",
    [start(2.9), start(1 / 2.9), start(9.5, arm="third"), start(9.5, severity="doubt"), start(9.5, check="sizes")],
    ids=["less wide", "less narrow", "of another arm", "doubted before", "of another check"],
)
def test_what_is_near_or_about_another_arm_or_doubted_already_is_no_reason(finding):
    assert not doubts("worse", finding)


def test_weights_that_torch_drew_have_no_ratio_and_are_no_reason():
    assert not doubts("worse", Finding("initial scale", "note", "by torch", "idea", "m", {"tensors": {"m": ["w"]}}))
