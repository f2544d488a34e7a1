"""The audit of times, on what a measurement might have written."""

from small_studies import BASELINE, make_study, slow

from paribus.audits import audit_times
from paribus.design.specs import spec
from paribus.nn import RMSNorm

STUDY = make_study(
    treatments={"again": BASELINE, "slow": slow(BASELINE), "rms": BASELINE.replace("*norm", spec(RMSNorm))}
).to_json()


def row(kind, ratio=1.0, low=0.99, high=1.01):
    return {"kind": kind, "ratio": ratio, "interval": [low, high], "rounds": 4}


def make_timing(busy=False, first=0.02, spread=1.02, rejected=0, **treatments):
    own = {"first_step_seconds": 0.012, "step_seconds": 0.01, "cpu_share": 0.99}
    return {
        "measured": {
            "busy": busy,
            "rounds": 4,
            "rejected_rounds": {"reference": rejected, "descheduled": 0},
            "reference": {"seconds": 0.02, "spread": spread, "times": 20},
            "load_average": [[2.0, 1.0, 1.0]] * 2,
            "arms": {"baseline": {**own, "first_step_seconds": first}, **dict.fromkeys(treatments, own)},
            "treatments": treatments,
        }
    }


def find(timing):
    return list(audit_times(STUDY, timing["measured"]))


def test_quiet_times_are_not_suspected():
    treatments = {"rms": row("slower", 1.3, 1.2, 1.4), "slow": row("faster", 0.9, 0.88, 0.93), "again": row("equal")}
    assert find(make_timing(**treatments)) == []


def test_some_rejected_rounds_on_a_machine_that_calmed_down_are_not_suspected():
    assert find(make_timing(rejected=2, spread=3.0, rms=row("undecided"))) == []


def test_a_busy_machine_is_doubted_with_its_numbers():
    (found,) = find(make_timing(busy=True, rejected=6, spread=2.7, rms=row("undecided")))
    assert (found.check, found.severity, found.arm) == ("timing", "doubt", None)
    assert "6 of 10 rounds were rejected" in found.message
    assert "up to 2.70 of its usual" in found.message
    assert found.evidence["rejected"] == {"reference": 6, "descheduled": 0}


def test_a_first_step_that_stands_out_is_noted_with_the_arm_that_pays_it():
    (found,) = find(make_timing(first=0.5, rms=row("undecided")))
    assert (found.severity, found.arm) == ("note", "baseline")
    assert "took 0.5 s, 50 times a later one (0.01 s)" in found.message


def test_the_same_code_timed_slower_than_itself_is_doubted():
    (found,) = find(make_timing(again=row("slower", 1.21, 1.1, 1.33)))
    assert (found.severity, found.arm) == ("doubt", "again")
    assert "1.210 of its time (interval 1.100 to 1.330)" in found.message


def test_the_same_model_under_another_recipe_is_other_code():
    assert find(make_timing(slow=row("slower", 1.21, 1.1, 1.33))) == []
