"""From the records of a registered study to its comparisons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from paribus.design.contrasts import Contrast
from paribus.design.metrics import Metric
from paribus.design.study import BASELINE
from paribus.errors import JudgementError, StoreError
from paribus.judgement import Rule, compare, compare_all, decide, describe_on
from paribus.judgement.comparison import Comparison
from paribus.judgement.pairs import Pair
from paribus.store.files import FORMAT, read_json
from paribus.store.records import Finding, Record
from paribus.store.store import Store


def summarize(comparisons: Mapping[str, Comparison], findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """A row per treatment and contrast: its pairs so far, mean, interval, and its verdict once it has one."""
    rows = []
    for name, comparison in comparisons.items():
        verdict = decide(comparison, findings) if comparison.primary else None
        rows.append(
            {
                "treatment": name,
                "primary": comparison.primary,
                "pairs": comparison.n_pairs,
                "mean": comparison.mean,
                "interval": comparison.interval,
                "verdict": verdict.kind if verdict else None,
                **({"contrast": True} if comparison.contrast else {}),
            }
        )
    return rows


Records = dict[str, dict[int, Record]]
"""Arm to seed to record; finished runs only."""


def read_registration(store: Store, name: str) -> dict[str, Any]:
    """The registration of study ``name``.

    Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
    """
    path = store.study_folder(name) / "registration.json"
    if not path.exists():
        raise StoreError(f"{store.folder} holds no study {name!r}; there is {', '.join(store.study_names()) or 'none'}")
    registration = read_json(path)
    content = {key: value for key, value in registration.items() if key != "digest"}
    if registration.get("digest") != digest_content(content):
        raise JudgementError(f"{path} was changed after it was written; a registered study cannot be edited")
    if registration["format"] != FORMAT:
        raise StoreError(f"{path} was written in format {registration['format']}; this paribus reads format {FORMAT}")
    return registration


def read_records(store: Store, registration: Mapping[str, Any]) -> Records:
    """The records of the registered runs that are finished. Raises StoreError for a damaged one."""
    return {
        arm: {seed: store.read_record(digest) for seed, digest in seeded(registration, arm) if store.is_done(digest)}
        for arm in registration["runs"]
    }


def compare_records(registration: Mapping[str, Any], records: Records) -> dict[str, Comparison]:
    """Every treatment against the baseline, over the longest prefix of seeds whose two runs are both finished.

    Contrasts come first, over the seeds on which all their arms are finished, then primary treatments. A descriptive
    treatment is described on as many pairs as the longest of these took, of the contrasts it is an arm of if it is.
    """
    study = registration["study"]
    rule, metric = Rule.from_json(registration["rule"]), Metric(**study["metric"])
    contrasts = {name: Contrast.from_json(contrast) for name, contrast in study.get("contrasts", {}).items()}
    contrasts = dict(sorted(contrasts.items(), key=lambda item: len(item[1].factors)))  # a file holds them by name
    members = {name: {BASELINE, *contrast.weights} for name, contrast in contrasts.items()}
    members |= {name: {BASELINE, name} for name in records if name != BASELINE}
    pairs: dict[str, list[Pair]] = {name: [] for name in members}
    for name, prefix in pairs.items():
        for seed, _ in seeded(registration, BASELINE):
            there = {arm: records[arm][seed] for arm in members[name] if seed in records[arm]}
            if there.keys() < members[name] or any(record.status == "failed" for record in there.values()):
                break
            if name in contrasts:
                prefix.append(Pair.of_contrast(there, contrasts[name], metric))
            else:
                prefix.append(Pair.of_records(there[BASELINE], there[name], metric))
    judged = {name: pairs[name] for name in (*contrasts, *study["primary"])}
    primary = compare_all(judged, rule, metric, contrasts=contrasts)
    taken = {name: comparison.n_pairs for name, comparison in primary.items()}
    described = {name: own[: describe_on(name, primary, taken)] for name, own in pairs.items() if name not in primary}
    return primary | {name: compare(name, own, rule, metric, primary=False) for name, own in described.items()}


def seeded(registration: Mapping[str, Any], arm: str) -> list[tuple[int, str]]:
    """Seed and run digest of every run of ``arm`` the study may need, in order."""
    return list(enumerate(registration["runs"][arm], start=registration["study"]["first_seed"]))


def digest_content(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
