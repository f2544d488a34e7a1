"""The evidence of a study, read once from a store. Nothing is imported from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from paribus.errors import JudgementError, StoreError
from paribus.judgement import Evidence, Registration, gather
from paribus.judgement.evidence import Records
from paribus.store.files import FORMAT, read_json
from paribus.store.records import Record, read_findings
from paribus.store.store import Store

TIMES = "timing.json"


def read_evidence(store: Store, name: str) -> Evidence:
    """What ``store`` holds about study ``name``.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration was edited.
    """
    registration = read_registration(store, name)
    folder = store.study_folder(name)
    times = folder / TIMES
    return gather(
        registration,
        read_records(store, registration),
        read_extra_records(store, registration),
        tuple(read_findings(folder / "findings.json")),
        read_json(times)["measured"] if times.exists() else None,
    )


def forget_failures(store: Store, evidence: Evidence) -> Evidence:
    """The evidence without failed runs, which are removed from ``store``: what failed before is tried again."""
    records: dict[str, dict[int, Record]] = {}
    for arm, of_arm in evidence.records.items():
        records[arm] = {seed: record for seed, record in of_arm.items() if record.status != "failed"}
        for record in of_arm.values():
            if record.status == "failed":
                (store.run_folder(record.digest) / "result.json").unlink(missing_ok=True)
    return gather(evidence.registration, records, evidence.extra_runs, evidence.findings, evidence.timing)


def read_registration(store: Store, name: str) -> Registration:
    """The registration of study ``name``.

    Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
    """
    path = store.study_folder(name) / "registration.json"
    if not path.exists():
        raise StoreError(f"{store.folder} holds no study {name!r}; there is {', '.join(store.study_names()) or 'none'}")
    content = read_json(path)
    if content.get("digest") != digest_content({key: value for key, value in content.items() if key != "digest"}):
        raise JudgementError(f"{path} was changed after it was written; a registered study cannot be edited")
    if content["format"] != FORMAT:
        raise StoreError(f"{path} was written in format {content['format']}; this paribus reads format {FORMAT}")
    return Registration.from_json(content)


def read_records(store: Store, registration: Registration) -> Records:
    """The records of the registered pairs' runs that are finished. Raises StoreError for a damaged one."""
    return {
        arm: {seed: store.read_record(digest) for seed, digest in registration.seeded(arm) if store.is_done(digest)}
        for arm in registration.runs
    }


def read_extra_records(store: Store, registration: Registration) -> dict[str, Record]:
    """By digest, the registered extra runs that are finished."""
    digests = [run.digest for runs in registration.extra_runs.values() for run in runs]
    return {digest: store.read_record(digest) for digest in digests if store.is_done(digest)}


def digest_content(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
