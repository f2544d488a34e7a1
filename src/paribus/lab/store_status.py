"""`paribus status`: what is done and what is missing of every study in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paribus.design.study import BASELINE
from paribus.experiment.stored_evidence import read_evidence
from paribus.judgement import decide_all
from paribus.store.files import FORMAT
from paribus.store.store import DEFAULT_STORE, Store


@dataclass(frozen=True)
class ArmStatus:
    """The seeds of one arm's runs, by what became of them; ``unfinished`` runs were started."""

    done: list[int]
    diverged: list[int]
    failed: list[int]
    unfinished: list[int]


@dataclass(frozen=True)
class StudyStatus:
    """One study: its runs by arm, and a row per treatment and contrast with its pairs, interval and verdict so far."""

    question: str
    runs: Mapping[str, ArmStatus]
    treatments: list[dict[str, Any]]


@dataclass(frozen=True)
class Status:
    """What a store holds.

    Args:
        finished_runs: of all studies, extra runs too.
        nulls: the studies that were calibrated, by name.
    """

    store: str
    finished_runs: int
    nulls: list[str]
    studies: Mapping[str, StudyStatus]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def status(store: str | Path = DEFAULT_STORE) -> Status:
    """What is done, diverged, failed and unfinished of every study in a store, and how far its verdicts are.

    Imports no user code. Raises StoreError where there is no store or one of its files is damaged, JudgementError where
    a registration was changed after it was written.
    """
    place = Store.open(store)
    return Status(
        store=str(store),
        finished_runs=place.count_finished(),
        nulls=place.null_names(),
        studies={name: _read_study(place, name) for name in place.study_names()},
    )


def _read_study(store: Store, name: str) -> StudyStatus:
    judged = decide_all(read_evidence(store, name))
    registration, runs = judged.evidence.registration, {}
    for arm in sorted(judged.evidence.records, key=lambda arm: arm != BASELINE):  # a file holds them by name
        of_arm = judged.evidence.records[arm]
        missing = [(seed, digest) for seed, digest in registration.seeded(arm) if seed not in of_arm]
        runs[arm] = ArmStatus(
            **{kind: [s for s, r in of_arm.items() if r.status == kind] for kind in ("done", "diverged", "failed")},
            unfinished=[seed for seed, digest in missing if store.is_started(digest)],
        )
    return StudyStatus(registration.study.question, runs, judged.progress)
