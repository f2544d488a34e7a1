"""What a person sees at the terminal: progress while a study runs, and the answers as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paribus.design.study import BASELINE
from paribus.judgement.registration import RegisteredStudy
from paribus.lab.progress import TERMINAL_WIDTH, progress_text
from paribus.reports.edits import list_edits
from paribus.reports.metric_names import SHARED

if TYPE_CHECKING:
    from paribus.judgement import Power
    from paribus.judgement.speed import MeasuredTimes, SpeedVerdict
    from paribus.lab.calibrating import Calibration
    from paribus.lab.checking import Checked, Costs
    from paribus.lab.listing import ListedPart, ListedStudy
    from paribus.lab.store_status import Status
    from paribus.lab.trying.examination import Examination
    from paribus.nn.conformance.suite import CheckResult
    from paribus.reports.result import Result
    from paribus.store.records import Finding


def wrap_sentences(text: str, width: int) -> str:
    """``text`` with its long lines folded between words; a row of a table, which has runs of spaces, stays as it is."""
    lines = []
    for line in text.splitlines():
        is_row = "  " in line.strip()
        folded = textwrap.wrap(line, width - 1, break_long_words=False, break_on_hyphens=False)
        lines += [line] if is_row or len(line) < width else folded
    return "\n".join(lines)


def result_text(result: Result) -> str:
    """A ``Result``: the question, a sentence per contrast and treatment, findings, and where the report is."""
    report = result.report
    lines = [report.question, ""]
    lines += [row.verdict.sentence for row in report.contrasts.values() if row.verdict]
    for name, row in sorted(report.treatments.items(), key=lambda item: not item[1].comparison.primary):
        lines.append(row.verdict.sentence if row.verdict else f"{name} (descriptive): {row.description}")
    lines += ["", *_findings_lines(report.findings, ("invalid", "doubt"))]
    if report.times:
        lines += _time_lines(report.times)
    severities = [finding.severity for finding in report.findings]
    lines.append("findings: " + ", ".join(f"{severities.count(s)} {s}" for s in ("invalid", "doubt", "note")))
    return "\n".join([*lines, f"report: {result.page}"])


def _ratio_text(row: SpeedVerdict) -> str:
    if row.ratio is None or row.interval is None:
        return ""
    low, high = row.interval
    return f", {row.ratio:.3f} of the baseline's ({low:.3f} to {high:.3f})"


def times_text(result: Result) -> str:
    """A timed ``Result``: the question, a line per arm that was timed, what weakens them, and where the report is."""
    times = result.report.times
    assert times  # they were taken
    lines = [result.report.question, "", *_time_lines(times)]
    lines += _findings_lines(times.findings, ("invalid", "doubt", "note"))
    return "\n".join([*lines, f"report: {result.page}"])


def _time_lines(times: MeasuredTimes) -> list[str]:
    rows = times.treatments.items()
    return [f"time per step of {name}: {row.kind}{_ratio_text(row)}" for name, row in rows]


def calibration_text(calibration: Calibration) -> str:
    """A ``Calibration``: the noise of the baseline, and what this budget can settle in it."""
    null, unit = calibration.null, calibration.metric.unit
    lines = [
        f"the baseline over {null.n_seeds} seeds: sd {_with_interval(null.seed_sd, null.seed_sd_interval)} {unit}",
        f"with weights nudged by rounding, paired: sd {_with_interval(null.floor_sd, null.floor_sd_interval)} {unit}",
        "",
        f"what up to {null.n_max} pairs settle at the margin {null.margin:.3g} {unit}, by simulation:",
    ]
    for name, sd in null.sds.items():
        lines.append(f"  paired sd {sd:.2g}: {SHARED[name]}")
        table = [[f"    true gain {power.gain:.3g}", *_likeliest(power)] for power in null.powers[name]]
        lines += [*_columns(table), f"    smallest margin that is settled: {null.smallest_margins[name]:.2g}"]
    sentences = [*null.sentences]
    for name, noise in calibration.contrasts.items():
        said = f"the contrast {name!r} has {noise:.2g} times its sd."
        sentences.append(f"All this is of a pair. Where arms share no noise, {said}")
    if calibration.tunes:
        sentences.append("The study tunes: this is the noise at the recipe of its file, not of what is chosen.")
    lines += ["", *(line for sentence in sentences for line in textwrap.wrap(sentence, TERMINAL_WIDTH))]
    return "\n".join([*lines, f"written to {calibration.file}"])


def _with_interval(sd: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{sd:.2g} (90 %: {low:.2g} to {high:.2g})"


def _likeliest(power: Power) -> list[str]:
    chances = {"better": power.better, "equivalent": power.equivalent, "undecided": power.undecided}
    kind = max(chances, key=chances.__getitem__)
    return [kind, f"{chances[kind]:.0%}", f"after {power.pairs:.1f} pairs"]


def check_text(checked: Checked) -> str:
    """A ``Checked``: the arms side by side, what differs, what the plan costs, and the findings."""
    study, arms = checked.study, [facts.to_json() for facts in checked.arms.values()]
    table = [["arm", "parameters", "active", "of norms", "FLOPs/token", "training", "sites changed"]]
    for arm in arms:
        sites = f"{arm['sites_changed']} of {arm['sites_alike']}" if arm["sites_alike"] else "-"
        counts = [f"{arm[key]:,.0f}" for key in ("parameters", "active_parameters", "norm_parameters")]
        flops = [f"{arm[key]:,.0f}" for key in ("forward_flops_per_token", "training_flops_per_token")]
        table.append([arm["arm"], *counts, *flops, sites])
    lines = [study.question, "", *_columns(table)]
    described = RegisteredStudy.from_json(study.to_json()).arms
    for name in study.treatments:
        for edit in list_edits(described[BASELINE], described[name]):
            lines.append(f"  {name}: {', '.join(edit.places)}: {edit.before} -> {edit.after}")
    data, plan = "not read", checked.plan
    if checked.data:
        sides = checked.data["sides"]
        data = f"{checked.data['title']}, {sides['train']['tokens']:,} training tokens, "
        data += f"{sides['validation']['documents']:,} held-out documents"
    lines += [
        "",
        f"data: {data}",
        f"plan: {study.min_seeds} to {study.max_seeds} pairs; at most {plan.runs} runs, {plan.tokens:,} tokens, "
        f"{plan.training_flops:.2g} FLOPs",
        *_extra_runs_lines(plan),
        f"margin: {study.margin} {study.metric.unit}",
        *([f"contrasts that get a verdict: {', '.join(study.contrasts)}"] if study.contrasts else []),
        "",
        *_findings_lines(checked.findings, ("invalid", "doubt", "note")),
    ]
    return "\n".join(lines if checked.findings else [*lines, "no findings"])


def _extra_runs_lines(plan: Costs) -> list[str]:
    purposes = (
        (plan.tuning_runs, "to tune the arms, more where the grid grows"),
        (plan.extra_rate_runs, "at other learning rates, where a verdict could turn"),
        (plan.width_runs, "of the baseline at other widths"),
    )
    parts = [f"{n} {words}" for n, words in purposes if n]
    return [f"extra runs: {'; '.join(parts)}"] if parts else []


def status_text(status: Status) -> str:
    """A ``Status``: per study the runs of every arm and the treatments so far."""
    if not status.studies:
        beside = f"; runs of a tuning or a calibration that are finished: {status.finished_runs}"
        return f"{status.store} holds no registered study yet" + (beside if status.finished_runs else "")
    lines = []
    for name, study in status.studies.items():
        lines += [f"{name}: {study.question}"]
        table = [["  arm", "done", "diverged", "failed", "unfinished"]]
        for arm, runs in study.runs.items():
            seeds = (runs.done, runs.diverged, runs.failed, runs.unfinished)
            table.append([f"  {arm}", *(str(len(of_kind)) for of_kind in seeds)])
        lines += _columns(table)
        lines += [f"  {row['treatment']}: {progress_text(row)}" for row in study.treatments] + [""]
    return "\n".join(lines).rstrip()


def studies_text(studies: Sequence[ListedStudy]) -> str:
    """Per study its name, its question, its scales, and the package it comes with."""
    lines = []
    for study in studies:
        text = f"{study.name:<12} {study.question} [{', '.join(study.scales)}]{_package_text(study.package)}"
        lines += textwrap.wrap(text, TERMINAL_WIDTH, subsequent_indent=" " * 13)
    return "\n".join(lines)


def parts_text(parts: Sequence[ListedPart]) -> str:
    """Every part with its formula, its source, and what it was tested against or where it is imported from."""
    lines = []
    for part in parts:
        lines.append(f"{part.slot} {part.name}{_package_text(part.package)}")
        parity = f"Tested against {part.parity}" if part.parity else "No public counterpart tested."
        origin = parity if part.package == "paribus" else f"from {part.module} import {part.name}"
        for text in filter(None, (part.formula, part.source, origin)):
            lines += textwrap.wrap(text, TERMINAL_WIDTH - 1, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _package_text(package: str) -> str:
    return "" if package == "paribus" else f"  ({package})"


def _findings_lines(findings: Sequence[Finding], severities: Sequence[str]) -> list[str]:
    lines = []
    for severity in severities:
        for finding in (f for f in findings if f.severity == severity):
            place = ", ".join(part for part in (finding.arm, finding.site) if part)
            where = f" [{place}]" if place else ""
            remedy = f" Remedy: {finding.remedy}." if finding.remedy and severity != "note" else ""
            lines.append(f"{severity}: {finding.check}{where}: {finding.message}.{remedy}")
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned first column, the others right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def examination_text(examination: Examination, passed: bool = True) -> str:
    """What the class is, and every check with its numbers, or those alone that failed."""
    what = examination.slot or examination.idea.kind
    place = f"slot {what}" if examination.slot else what
    lines = textwrap.wrap(f"{place}: {examination.idea.name} {examination.why}.", TERMINAL_WIDTH)
    if examination.others:
        others = ", ".join(examination.others)
        lines += textwrap.wrap(f"It also runs as {others}; --slot chooses another.", TERMINAL_WIDTH)
    checks = [line for check in examination.checks if passed or not check.passed for line in _check_lines(check)]
    lines += ["", *checks, ""] if checks else []
    n, failed = len(examination.checks), len(examination.failed)
    return "\n".join([*lines, f"{examination.idea.name} as {what}: {n - failed} of {n} checks passed"])


def _check_lines(check: CheckResult) -> list[str]:
    head = f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: "
    return textwrap.wrap(head + check.detail, TERMINAL_WIDTH, subsequent_indent=" " * 6)
