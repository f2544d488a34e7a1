"""The evidence of a study, read once from a store. Nothing is imported from there."""

from __future__ import annotations

from paribus.design.plain import read_plain
from paribus.judgement import Evidence, Registration, gather
from paribus.judgement.evidence import Records
from paribus.judgement.speed import MeasuredTimes
from paribus.store.records import Record
from paribus.store.store import Store


def read_evidence(store: Store, name: str) -> Evidence:
    """What ``store`` holds about study ``name``.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration was edited.
    """
    registration = read_registration(store, name)
    return gather(
        registration,
        read_records(store, registration),
        read_extra_records(store, registration),
        tuple(store.read_findings(name)),
        read_plain(MeasuredTimes, times) if (times := store.read_timing(name)) else None,
    )


def forget_failures(store: Store, evidence: Evidence) -> Evidence:
    """The evidence without failed runs, which are removed from ``store``: what failed before is tried again."""
    records: dict[str, dict[int, Record]] = {}
    for arm, of_arm in evidence.records.items():
        records[arm] = {seed: record for seed, record in of_arm.items() if record.status != "failed"}
        for record in of_arm.values():
            if record.status == "failed":
                store.forget_record(record.digest)
    return gather(evidence.registration, records, evidence.extra_runs, evidence.findings, evidence.times)


def read_registration(store: Store, name: str) -> Registration:
    """The registration of study ``name``.

    Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
    """
    return Registration.from_json(store.read_registration(name))


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
