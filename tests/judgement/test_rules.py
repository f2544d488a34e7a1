import json
import math
import subprocess
import sys

import pytest

from paribus.errors import JudgementError, StudyError
from paribus.judgement.rules import Rule, check_registration, describe_method


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
        {"boundary": "naive"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(StudyError, match="|".join(changes)):
        Rule(margin=0.1, **changes)


def test_the_method_is_told_in_the_two_sentences_of_the_verdict_file():
    assert describe_method(Rule(margin=0.02)) == (
        "After every seed pair from the 3rd to the 10th we draw an ordinary paired-t interval, but at 98.8 % instead "
        "of 95 %, so that looking eight times is wrong at most 5 % of the time. We stop when it lies on one side of "
        "zero (better / worse), when a 97.3 % interval lies inside the margin (equivalent), or when ten pairs are "
        "used up or a verdict has become unlikely (undecided, with the seeds that would settle it)."
    )


def test_the_method_prints_the_percentages_of_its_own_rule():
    text = describe_method(Rule(margin=0.02, n_primary=4, n_min=2, n_max=3, give_up=0))
    rule = Rule(margin=0.02, n_primary=4, n_min=2, n_max=3)
    assert f"{100 * (1 - rule.boundaries.a_sign):.3g} %" in text
    assert "98.8 %" not in text
    assert "from the 2nd to the 3rd" in text
    assert "looking twice" in text
    assert "all four primary treatments" in text
    assert "unlikely" not in text


def test_the_method_of_the_anytime_boundary_names_no_constant_level():
    text = describe_method(Rule(margin=0.02, boundary="anytime"))
    assert "confidence sequence" in text
    assert "98" not in text


REGISTERED = {
    "question": "q",
    "arms": {"baseline": {"model": {"cls": "A", "args": {"eps": 1e-5}}}, "rms": {"model": {"cls": "B"}}},
    "metric": {"key": "val_loss", "unit": "nats/token", "better": "lower"},
    "margin": 0.03,
    "primary": ["rms"],
}


def test_an_unchanged_registration_passes_also_after_a_round_trip_through_json():
    assert check_registration(json.loads(json.dumps(REGISTERED)), REGISTERED) is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"margin": 0.031}, "margin changed.*0.03 was registered.*0.031"),
        ({"metric": REGISTERED["metric"] | {"better": "higher"}}, r"metric\.better"),
        ({"arms": REGISTERED["arms"] | {"third": {}}}, r"arms\.third .*nothing was registered"),
        ({"arms": {"baseline": REGISTERED["arms"]["baseline"]}}, r"arms\.rms .*says nothing"),
        (
            {"arms": REGISTERED["arms"] | {"baseline": {"model": {"cls": "A", "args": {"eps": 1e-6}}}}},
            r"model\.args\.eps",
        ),
        ({"arms": dict(reversed(REGISTERED["arms"].items()))}, "arms changed"),
        ({"primary": ["rms", "third"]}, "primary"),
        ({"data_digest": "ab"}, "data_digest"),
    ],
)
def test_an_edited_study_is_refused_with_the_field_that_changed(change, place):
    with pytest.raises(JudgementError, match=place):
        check_registration(REGISTERED, REGISTERED | change)


def test_a_missing_field_is_refused():
    with pytest.raises(JudgementError, match="margin changed"):
        check_registration(REGISTERED, {key: value for key, value in REGISTERED.items() if key != "margin"})


def test_importing_the_room_loads_neither_torch_nor_scipy():
    code = "import sys, paribus.judgement; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
