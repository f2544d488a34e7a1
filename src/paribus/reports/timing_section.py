"""What may be said of speed: a sentence per treatment, and the table they are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.design.study import BASELINE
from paribus.judgement import Report
from paribus.judgement.speed import SPEEDS, MeasuredTimes
from paribus.reports.formatting import MISSING, choose_decimals, is_known, write_count, write_digits, write_number
from paribus.reports.metric_names import GROUPS
from paribus.reports.tables import Table
from paribus.store.records import Finding

_LEAST_DECIMALS = 3  # of a ratio
_CLOCK = GROUPS["clock"].partition(",")[0]  # heading of the rows that a clock said


@dataclass(frozen=True)
class Times:
    """The times that were taken in interleaved blocks.

    Args:
        sentences: one per treatment, then what speaks against the times.
        how: how they were measured.
    """

    sentences: tuple[str, ...]
    how: str
    table: Table


def compose_times(report: Report, arms: Sequence[str]) -> Times | None:
    """The section on times, ``arms`` in the order of the page; None where the arms were not timed."""
    if not (measured := report.times):
        return None
    timed = [arm for arm in arms if arm in measured.treatments]
    return Times(
        sentences=(*(_say(arm, measured) for arm in timed), *map(_warn, measured.findings)),
        how=_tell_how(measured),
        table=_tabulate([BASELINE, *timed], measured),
    )


def note_clock(report: Report) -> str:
    """What a reader of the clock's rows among the metrics must know."""
    runs = "runs side by side" if report.device == "cpu" else "separate runs"
    if report.times:
        return f"The times under {_CLOCK} come from {runs}; what may be said of speed stands under Times."
    return (
        f"No speed claim: the times under {_CLOCK} come from {runs}. Where the arms are to take turns: "
        "paribus time STUDY."
    )


def _say(name: str, measured: MeasuredTimes) -> str:
    row = measured.treatments[name]
    rounds = write_count(row.rounds, "interleaved round")
    if not is_known(row.ratio):
        return f"{name}: no speed claim, the machine was never quiet enough for a round."
    decimals = _decide_decimals(row.interval)
    said = f"{name} takes {write_number(row.ratio, decimals)} of the baseline's time per step"
    if row.interval:
        seen = f"interval {_write_interval(row.interval, decimals)}, "
        if row.kind == SPEEDS["equivalent"]:
            seen += f"equivalence interval {_write_interval(row.equivalence_interval, decimals)}, "
        said += f" ({seen}{rounds})"
    else:
        said += f" ({rounds}, no interval yet)"
    return f"{said}: {'no speed claim, the machine was busy' if measured.busy else row.kind}."


def _warn(finding: Finding) -> str:
    return f"{finding.severity.capitalize()}: {finding.message}."


def _tell_how(measured: MeasuredTimes) -> str:
    rule, reference, rejected = measured.rule, measured.reference, sum(measured.rejected_rounds.values())
    n_steps = write_count(measured.steps_per_block, "step")
    threads = f", {write_count(measured.threads, 'thread')}" if measured.threads else ""
    return (
        f"The arms took turns on one machine ({measured.device}, {measured.device_name}{threads}): in a round "
        f"each trains {n_steps}, half of them in reverse order. The first steps are left out. "
        f"A fixed computation before each block took {write_digits(reference.seconds, 3)} s, at most "
        f"{reference.spread:.2f} times that; {rejected} of {measured.rounds + rejected} rounds were measured "
        f"again because of other load. The intervals hold for {100 * (1 - rule.alpha):.3g} %, all looks and all "
        f"arms; a difference of less than {100 * measured.margin:.3g} % counts as equal."
    )


def _tabulate(arms: Sequence[str], measured: MeasuredTimes) -> Table:
    rows = []
    for arm in arms:
        own, row = measured.arms[arm], measured.treatments.get(arm)
        interval = row.interval if row else None
        decimals = _decide_decimals(interval)
        rows.append(
            (
                arm,
                write_digits(own.step_seconds, 4),
                write_digits(own.first_step_seconds, 3),
                str(len(own.block_seconds)),
                write_number(row.ratio, decimals) if row else "1",
                _write_interval(interval, decimals),
                row.kind if row else MISSING,
            )
        )
    header = ("arm", "seconds per step", "first step, seconds", "rounds", "ratio", "interval", "speed")
    return Table("Times per training step", header, tuple(rows))


def _decide_decimals(ends: tuple[float, float] | None) -> int:
    """Two digits of the interval's half width, and three decimals at least."""
    digits = choose_decimals((ends[1] - ends[0]) / 2) if ends else None
    return max(_LEAST_DECIMALS, digits or 0)


def _write_interval(ends: Sequence[float] | None, decimals: int) -> str:
    return f"{write_number(ends[0], decimals)} to {write_number(ends[1], decimals)}" if ends else MISSING
