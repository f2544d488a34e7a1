"""What is registered comes back as it was, and evidence does not depend on the order in which runs finish."""

import json
import random
from dataclasses import replace

import pytest
from judged_studies import make_record, make_study

from paribus.errors import JudgementError
from paribus.judgement import Registration, Rule, decide_all, gather
from paribus.judgement.registration import RegisteredRun

ARMS = ("first", "second", "aside")
CONTRASTS = {"apart": {"first": 1.0, "second": -1.0}}


def register(**fields):
    study = make_study(ARMS, primary=("first", "second"), contrasts=CONTRASTS, max_seeds=5, **fields)
    content = {
        "name": "orders",
        "study": study.to_json(),
        "rule": Rule.of_study(study).to_json(),
        "data": {"title": "t", "digest": "d"},
        "evaluation_digest": "e",
        "device": "cpu",
        "runs": {arm: [f"{arm}-{seed}" for seed in range(5)] for arm in study.arms},
        "trials": {"rates": [{"seed": 0, "digest": "x", "arm": "first", "factor": 0.5}], "widths": []},
        "tuning": None,
        "attempt": 2,
        "judged_before": ["earlier"],
        "digest": "of all",
    }
    return Registration.from_json(json.loads(json.dumps(content))), content


def draw_records(registration, seed):
    losses = random.Random(seed)
    return [
        make_record(arm, number, 3.0 + losses.gauss(0, 0.1))
        for arm in registration.runs
        for number in registration.seeds
    ]


def test_a_registration_comes_back_from_its_json():
    registration, content = register()
    assert registration.to_json() == content
    assert registration.extra_runs["rates"] == (RegisteredRun(0, "x", arm="first", factor=0.5),)
    assert list(registration.seeded("first"))[1] == (1, "first-1")


def test_the_name_and_the_count_of_attempts_are_no_part_of_what_is_fixed():
    registration, _ = register()
    assert registration.fixes_the_same(replace(registration, name="again", attempt=1, judged_before=(), digest=""))
    assert not registration.fixes_the_same(replace(registration, device="cuda"))


@pytest.mark.parametrize("order", range(6))
def test_runs_that_are_added_one_by_one_are_the_evidence_that_is_read_at_once(order):
    registration, _ = register()
    records = draw_records(registration, order)
    random.Random(order).shuffle(records)
    some = records[: len(records) - order]  # the last few are still running
    evidence = gather(registration, {arm: {} for arm in registration.runs}, {})
    judged = decide_all(evidence)
    for record in some:
        evidence = evidence.add(record)
        judged = decide_all(evidence, judged)
    of_arm = {
        arm: {
            record.seed: record for record in sorted(some, key=lambda r: r.seed) if record.digest.startswith(f"{arm}-")
        }
        for arm in registration.runs
    }
    at_once = decide_all(gather(registration, of_arm, {}))
    assert judged.report.to_json() == at_once.report.to_json()
    assert judged.wanted_pairs == at_once.wanted_pairs


def test_a_run_leaves_the_comparisons_that_do_not_take_it_as_they_are():
    registration, _ = register()
    evidence = gather(registration, {arm: {} for arm in registration.runs}, {})
    for arm in ("baseline", "first", "second"):
        evidence = evidence.add(make_record(arm, 0, 3.0))
    later = evidence.add(make_record("first", 1, 3.0))
    assert later.comparisons["second"] is evidence.comparisons["second"]
    assert decide_all(later, decide_all(evidence)).verdicts == decide_all(later).verdicts


def test_a_rule_for_another_number_of_verdicts_is_refused():
    registration, _ = register()
    other = replace(registration, rule=replace(registration.rule, n_primary=2))
    with pytest.raises(JudgementError, match="the rule shares alpha among 2 verdicts, got 3"):
        gather(other, {arm: {} for arm in other.runs}, {})
