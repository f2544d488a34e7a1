"""`paribus report` and `paribus status`: what the records of a store say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.experiment.stored_evidence import read_evidence
from paribus.judgement import Evidence, Judged, decide_all
from paribus.store.files import FORMAT, write_json
from paribus.store.store import Store


def judge(store: str | Path, name: str) -> Judged:
    """Judge a registered study from what lies in the store and write ``verdicts.json``; imports no user code.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration
    was changed.
    """
    place = Store.open(store)
    judged = audit_evidence(read_evidence(place, name), place)
    write_json(place.study_folder(name) / "verdicts.json", judged.to_json())
    return judged


def audit_evidence(evidence: Evidence, store: Store) -> Judged:
    """The verdicts on ``evidence``, with what the audits of its records, extra runs and times find."""
    from paribus.audits import audit_extra_runs, audit_records, audit_times

    study = evidence.registration.study
    by_numbers = decide_all(replace(evidence, findings=()))
    evidence = evidence.with_findings(*audit_records(study.to_json(), by_numbers.records, store.read_steps))
    judged = decide_all(evidence)
    if measured := evidence.timing:
        doubts = [finding.to_json() for finding in audit_times(study.to_json(), measured)]
        evidence = replace(evidence, timing={"measured": {**measured, "findings": doubts}})
    return decide_all(evidence.with_findings(*audit_extra_runs(by_numbers, judged, judged.evidence.findings)))


def write_judged(judged: Judged, store: Store) -> dict[str, Path]:
    """Write the verdicts and the report in every form; the paths of the report by form."""
    from paribus.reports import FORMS, write_report

    folder, content = store.study_folder(judged.evidence.registration.name), judged.to_json()
    write_json(folder / "verdicts.json", content)
    return {form: write_report(content, folder, form) for form in FORMS}


def report(store: str | Path, form: str = "md", name: str | None = None) -> Path:
    """Judge and render a study again, "md", "html" or "json"; returns the path of what was written.

    Raises StoreError where the store holds no study ``name``, or several and none is named.
    """
    from paribus.reports import write_report

    names = study_names(store)
    if not names:
        raise StoreError(f"{store} holds no registered study yet")
    if name is None and len(names) != 1:
        raise StoreError(f"{store} holds {len(names)} studies ({', '.join(names)}); name one")
    name = name or names[0]
    return write_report(judge(store, name).to_json(), Store.open(store).study_folder(name), form)


def study_names(store: str | Path) -> list[str]:
    """The studies registered in a store, by name."""
    return Store.open(store).study_names()


def status(store: str | Path) -> dict[str, Any]:
    """What is done, diverged, failed and started per study, and how far its verdicts are. Imports no user code.

    ``finished_runs`` counts those beside the pairs too; ``nulls`` names the calibrations.
    """
    place = Store.open(store)
    studies = {}
    for name in place.study_names():
        judged = decide_all(read_evidence(place, name))
        registration, records = judged.evidence.registration, judged.evidence.records
        started = {
            arm: [
                seed
                for seed, digest in registration.seeded(arm)
                if seed not in records[arm] and (place.run_folder(digest) / "run.json").exists()
            ]
            for arm in records
        }
        runs = {
            arm: {
                **{s: [seed for seed, r in of_arm.items() if r.status == s] for s in ("done", "diverged", "failed")},
                "unfinished": started[arm],
            }
            for arm, of_arm in records.items()
        }
        studies[name] = {"question": registration.study.question, "runs": runs, "treatments": judged.progress}
    finished = len(list(place.folder.glob("runs/*/result.json")))
    nulls = sorted(path.stem for path in place.folder.glob("nulls/*.json"))
    return {"format": FORMAT, "store": str(store), "finished_runs": finished, "nulls": nulls, "studies": studies}
