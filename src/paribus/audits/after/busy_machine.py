"""Whether times can be compared: a quiet machine, no start-up in them, equal code at equal speed. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paribus.audits.after.trained_study import TimedStudy
from paribus.audits.checks import Check
from paribus.design.plain import to_plain
from paribus.design.study import BASELINE
from paribus.design.wording import write_count
from paribus.judgement.registration import RegisteredStudy
from paribus.judgement.speed import ArmTimes, MeasuredTimes
from paribus.store.records import Finding

START_UP = 5.0  # times a later step: what the first step may take

TIMING = Check[TimedStudy](
    name="timing",
    when="after",
    severities=("note", "doubt"),
    sees="After `paribus time STUDY`: a machine so busy that more than a third of the rounds were rejected (doubt). "
    "The baseline over again timed faster or slower than itself (doubt). A first step of more than 5 times a later one "
    "(note).",
    misses="Load that slows the steps and not the reference, such as of memory. Start-up beyond the fourth step. "
    "Another machine.",
    cost="none; the timing itself 4 steps and 3 to 10 rounds of about a third of a second",
    needs="times",
    find=lambda timed: find_doubtful_times(timed.study, timed.times),
)


def find_doubtful_times(study: RegisteredStudy, times: MeasuredTimes) -> Iterator[Finding]:
    """What speaks against the times that ``measure_times`` took."""
    if times.busy:
        yield _busy(times)
    yield from _start_up(times.arms)
    yield from _unequal_equals(study, times)


def _busy(times: MeasuredTimes) -> Finding:
    n_rejected, spread = sum(times.rejected_rounds.values()), times.reference.spread
    total = times.rounds + n_rejected
    return Finding(
        check="timing",
        severity="doubt",
        message=f"the machine was busy while the arms were timed, so no speed is claimed: {n_rejected} of "
        f"{write_count(total, 'round')} were rejected, and a fixed computation took up to {spread:.2f} of "
        "its usual time",
        evidence={
            "rejected": dict(times.rejected_rounds),
            "rounds": total,
            "reference_spread": spread,
            "cpu_share": {name: arm.cpu_share for name, arm in times.arms.items()},
            "load_average": to_plain(times.load_average),
        },
        remedy="end what else runs on this machine, let it cool, and time again",
    )


def _start_up(arms: Mapping[str, ArmTimes]) -> Iterator[Finding]:
    """One note on the arm whose first step stands out most."""
    ratios = {name: arm.first_step_seconds / arm.step_seconds for name, arm in arms.items()}
    name = max(ratios, key=lambda arm: ratios[arm])
    if ratios[name] > START_UP:
        first, later = arms[name].first_step_seconds, arms[name].step_seconds
        yield Finding(
            check="timing",
            severity="note",
            message=f"the first step of {name!r} took {first:.2g} s, {ratios[name]:.0f} times a later one ({later:.2g} "
            "s): a clock that starts with the first run charges this to whichever arm comes first",
            arm=name,
            evidence={
                "first_over_later": ratios,
                "first_step_seconds": {arm: times.first_step_seconds for arm, times in arms.items()},
            },
            remedy="leave the first steps out of every time; `paribus time` does",
        )


def _unequal_equals(study: RegisteredStudy, times: MeasuredTimes) -> Iterator[Finding]:
    """Arms that are the baseline over again, in model and recipe, and were timed faster or slower."""
    for name, speed in times.treatments.items():
        is_same = study.arms[name] == study.arms[BASELINE]
        if is_same and speed.kind in ("faster", "slower") and speed.interval:
            low, high = speed.interval
            yield Finding(
                check="timing",
                severity="doubt",
                message=f"{name!r} runs the same code as the baseline and was timed {speed.kind}: {speed.ratio:.3f} "
                f"of its time (interval {low:.3f} to {high:.3f}); no ratio of these times can be trusted below that",
                arm=name,
                evidence={"ratio": speed.ratio, "interval": [low, high], "rounds": speed.rounds},
                remedy="look for what differs between the blocks: memory, caches, other load; time again",
            )
