"""The audit of times, on what a measurement might have written."""

from dataclasses import replace

from small_studies import BASELINE, make_study, register, slow

from paribus.audits import audit_times
from paribus.design.specs import spec
from paribus.judgement import TIME_MARGIN, Rule
from paribus.judgement.speed import ArmTimes, MeasuredTimes, Reference, SpeedVerdict
from paribus.nn import RMSNorm

STUDY = register(
    make_study(treatments={"again": BASELINE, "slow": slow(BASELINE), "rms": BASELINE.replace("*norm", spec(RMSNorm))})
)


def row(kind, ratio=1.0, low=0.99, high=1.01):
    return SpeedVerdict(kind, ratio, (low, high), (low, high), rounds=4)


def find(busy=False, first=0.02, spread=1.02, rejected=0, **treatments):
    """Findings on four rounds of these verdicts, the baseline's first step and the reference as given."""
    own = ArmTimes(first_step_seconds=0.012, step_seconds=0.01, block_seconds=(0.3,) * 4, cpu_share=0.99)
    times = MeasuredTimes(
        margin=0.02,
        rule=Rule(margin=TIME_MARGIN),
        rounds=4,
        rejected_rounds={"reference": rejected, "descheduled": 0},
        busy=busy,
        steps_per_block=30,
        arms={"baseline": replace(own, first_step_seconds=first), **dict.fromkeys(treatments, own)},
        reference=Reference(0.02, spread, 20),
        load_average=((2.0, 1.0, 1.0),) * 2,
        treatments=treatments,
    )
    return list(audit_times(STUDY, times))


def test_quiet_times_are_not_suspected():
    treatments = {"rms": row("slower", 1.3, 1.2, 1.4), "slow": row("faster", 0.9, 0.88, 0.93), "again": row("equal")}
    assert find(**treatments) == []


def test_some_rejected_rounds_on_a_machine_that_calmed_down_are_not_suspected():
    assert find(rejected=2, spread=3.0, rms=row("undecided")) == []


def test_a_busy_machine_is_doubted_with_its_numbers():
    (found,) = find(busy=True, rejected=6, spread=2.7, rms=row("undecided"))
    assert (found.check, found.severity, found.arm) == ("timing", "doubt", None)
    assert "6 of 10 rounds were rejected" in found.message
    assert "up to 2.70 of its usual" in found.message
    assert found.evidence["rejected"] == {"reference": 6, "descheduled": 0}


def test_a_first_step_that_stands_out_is_noted_with_the_arm_that_pays_it():
    (found,) = find(first=0.5, rms=row("undecided"))
    assert (found.severity, found.arm) == ("note", "baseline")
    assert "took 0.5 s, 50 times a later one (0.01 s)" in found.message


def test_the_same_code_timed_slower_than_itself_is_doubted():
    (found,) = find(again=row("slower", 1.21, 1.1, 1.33))
    assert (found.severity, found.arm) == ("doubt", "again")
    assert "1.210 of its time (interval 1.100 to 1.330)" in found.message


def test_the_same_model_under_another_recipe_is_other_code():
    assert find(slow=row("slower", 1.21, 1.1, 1.33)) == []
