"""A registered study judged from what lies in its store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paribus.experiment.stored_evidence import read_evidence
from paribus.judgement import Evidence, Judged, decide_all
from paribus.reports.result import Result
from paribus.store.store import Store


def judge(store: str | Path, name: str) -> Judged:
    """Judge a registered study from what lies in the store; imports no user code.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration
    was changed.
    """
    place = Store.open(store)
    return audit_evidence(read_evidence(place, name), place)


def audit_evidence(evidence: Evidence, store: Store) -> Judged:
    """The verdicts on ``evidence``, with what the audits of its records, extra runs and times find."""
    from paribus.audits import audit_extra_runs, audit_records, audit_times

    study = evidence.registration.study
    by_numbers = decide_all(replace(evidence, findings=()))
    evidence = evidence.with_findings(*audit_records(study, by_numbers.records, store.read_steps))
    judged = decide_all(evidence)
    if times := evidence.times:
        evidence = replace(evidence, times=replace(times, findings=audit_times(study, times)))
    return decide_all(evidence.with_findings(*audit_extra_runs(by_numbers, judged, judged.evidence.findings)))


def write_judged(judged: Judged, store: Store) -> Result:
    """Write the verdicts and the report in every form; the result."""
    from paribus.reports import FORMS, render_report

    report = judged.report
    pages = {file: page for form in FORMS for file, page in render_report(report, form).items()}
    places = store.write_pages(report.name, {"verdicts.json": pages["report.json"], **pages})
    return Result(report, Path(places["report.html"]))
