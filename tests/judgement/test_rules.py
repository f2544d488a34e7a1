import math
import subprocess
import sys

import pytest

from paribus.errors import StudyError
from paribus.judgement.rules import Rule, describe_method


@pytest.mark.parametrize("margin", [-0.01, math.nan, math.inf, "0.1", True])
def test_a_margin_that_is_negative_or_not_finite_is_refused(margin):
    with pytest.raises(StudyError, match="margin"):
        Rule(margin=margin)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_max": 21},
        {"n_min": 1},
        {"n_min": 8, "n_max": 7},
        {"n_max": 9.5},
        {"n_primary": 0},
        {"alpha": 0},
        {"alpha": 0.5},
        {"give_up": -0.1},
        {"give_up": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(StudyError, match="|".join(changes)):
        Rule(margin=0.1, **changes)


def test_the_method_is_told_in_the_three_sentences_of_the_verdict_file():
    assert describe_method(Rule(margin=0.02)) == (
        "After every seed pair from the 3rd to the 10th we draw an ordinary paired-t interval, but at 98.8 % instead "
        "of 95 %, so that looking eight times is wrong at most 5 % of the time. We stop when it lies on one side of "
        "zero (better / worse), when a 97.3 % interval lies inside the margin (equivalent), or when ten pairs are "
        "used up or a verdict has become unlikely (undecided, with the seeds that would settle it). Where it "
        "lies on one side of zero and inside the margin too, the verdict is equivalent: a real but negligible gain or "
        "loss."
    )


def test_a_single_look_at_a_single_treatment_needs_no_other_level():
    text = describe_method(Rule(margin=0.02, n_min=3, n_max=3))
    assert text.startswith(
        "After the 3rd seed pair we draw an ordinary paired-t interval at 95 %, which is wrong at most 5 % of the "
        "time. "
    )
    # Bonferroni's 1 - 0.05 / 2 for two treatments
    two = describe_method(Rule(margin=0.02, n_min=3, n_max=3, n_primary=2))
    assert "at 97.5 % instead of 95 %, so that looking once is wrong at most 5 % of the time over all two" in two


def test_the_method_prints_the_percentages_of_its_own_rule():
    text = describe_method(Rule(margin=0.02, n_primary=4, n_min=2, n_max=3, give_up=0))
    rule = Rule(margin=0.02, n_primary=4, n_min=2, n_max=3)
    assert f"{100 * (1 - rule.boundaries.a_sign):.3g} %" in text
    assert "98.8 %" not in text
    assert "from the 2nd to the 3rd" in text
    assert "looking twice" in text
    assert "all four primary treatments" in text
    assert "unlikely" not in text


def test_a_rule_survives_json_and_one_of_another_boundary_is_refused():
    rule = Rule(margin=0.02, n_primary=2, first_seed=7)
    written = rule.to_json()
    assert written["boundary"] == "group-sequential"
    assert Rule.from_json(written) == rule
    with pytest.raises(StudyError, match="the rule has the boundary 'anytime'"):
        Rule.from_json({**written, "boundary": "anytime"})


def test_importing_the_room_loads_neither_torch_nor_scipy():
    code = "import sys, paribus.judgement; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
