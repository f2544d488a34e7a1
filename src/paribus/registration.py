"""What is fixed before the first run: the study, its rule, its data, and the identity of every run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from paribus.errors import JudgementError, StoreError
from paribus.judgement import Rule, compare_all
from paribus.judgement.comparison import Comparison, Pair
from paribus.records import FORMAT, Record, Store, read_json, write_json
from paribus.runs import Plan
from paribus.study import BASELINE, Metric

Records = dict[str, dict[int, Record]]
"""Arm to seed to record; finished runs only."""


def register(store: Store, name: str, plan: Plan, data: Mapping[str, Any], evaluation_digest: str) -> dict[str, Any]:
    """The registration of this very study: the one in the store, or a new one, written before any run.

    A study that was edited is a new registration, under a name of its own; ``attempt`` counts the registrations
    with the same question on the same evaluation documents.
    """
    study = plan.study
    content = {
        "study": study.to_json(),
        "rule": Rule.of_study(study).to_json(),
        "data": dict(data),
        "evaluation_digest": evaluation_digest,
        "device": plan.environment.device,
        "runs": {arm: [plan.run(arm, seed).digest for seed in plan.seeds] for arm in study.arms},
    }
    digest = _digest(content)
    others = [read_registration(store, other) for other in store.study_names()]
    for other in others:
        if other["digest"] == digest:
            return other
    asked = (evaluation_digest, study.question)
    attempt = 1 + sum((other["evaluation_digest"], other["study"]["question"]) == asked for other in others)
    taken, free, number = {other["name"] for other in others}, name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    registration = {"format": FORMAT, "name": free, "digest": digest, "attempt": attempt, **content}
    write_json(store.study_folder(free) / "registration.json", registration)
    return registration


def read_registration(store: Store, name: str) -> dict[str, Any]:
    """The registration of study ``name``.

    Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
    """
    path = store.study_folder(name) / "registration.json"
    if not path.exists():
        raise StoreError(f"{store.folder} holds no study {name!r}; there is {', '.join(store.study_names()) or 'none'}")
    registration = read_json(path)
    content = {k: v for k, v in registration.items() if k not in ("format", "name", "digest", "attempt")}
    if registration.get("digest") != _digest(content):
        raise JudgementError(f"{path} was changed after it was written; a registered study cannot be edited")
    return registration


def read_records(store: Store, registration: Mapping[str, Any]) -> Records:
    """The records of the registered runs that are finished. Raises StoreError for a damaged one."""
    return {
        arm: {seed: store.read_record(digest) for seed, digest in seeded(registration, arm) if store.is_done(digest)}
        for arm in registration["runs"]
    }


def compare_records(registration: Mapping[str, Any], records: Records) -> dict[str, Comparison]:
    """Every treatment against the baseline, over the longest prefix of seeds whose two runs are both finished."""
    study = registration["study"]
    fields = {name: value for name, value in registration["rule"].items() if name not in ("a_sign", "a_equiv")}
    rule, metric = Rule(**fields), Metric(**study["metric"])
    pairs: dict[str, list[Pair]] = {name: [] for name in records if name != BASELINE}
    for name, prefix in pairs.items():
        for seed, _ in seeded(registration, name):
            members = records[BASELINE].get(seed), records[name].get(seed)
            if any(member is None or member.status == "failed" for member in members):
                break
            prefix.append(Pair.of_records(*members, metric))
    return compare_all(pairs, rule, metric, study["primary"])


def seeded(registration: Mapping[str, Any], arm: str) -> list[tuple[int, str]]:
    """Seed and run digest of every run of ``arm`` the study may need, in order."""
    return list(enumerate(registration["runs"][arm], start=registration["study"]["first_seed"]))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
