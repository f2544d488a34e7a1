"""The baseline against a copy of itself, read from the runs that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paribus.design.study import BASELINE
from paribus.experiment.comparisons import seeded
from paribus.judgement import Rule
from paribus.judgement.power import calibrate_null
from paribus.store.files import read_json
from paribus.store.store import Store


def read_null(store: Store, registration: Mapping[str, Any]) -> dict[str, Any] | None:
    """The calibration of a registered study from the runs that are there; None without three finished pairs.

    With the false verdicts of ``--comparisons``, where they were counted of this baseline by this rule.
    """
    metric = registration["study"]["metric"]["key"]
    baseline = dict(seeded(registration, BASELINE))
    pairs = []
    for row in registration.get("trials", {}).get("null", ()):
        digests = [digest for digest in (baseline.get(row["seed"]), row["digest"]) if digest]
        if len(digests) == 2 and all(map(store.is_done, digests)):
            members = [store.read_record(digest) for digest in digests]
            if all(member.status == "done" for member in members):
                pairs.append([member.metrics[metric] for member in members])
    if len(pairs) < 3:
        return None
    plain, nudged = zip(*pairs, strict=True)
    rule, unit = Rule.from_json(registration["rule"]), registration["study"]["metric"]["unit"]
    found = calibrate_null(plain, nudged, rule, unit).to_json()
    of = {"run": registration["runs"][BASELINE][0], "rule": registration["rule"]}
    files = sorted(store.folder.glob("nulls/*.json"))
    counted = next((counted for file in files if (counted := read_small_nulls(file, of))), None)
    return {**found, "small_nulls": counted} if counted else found


def read_small_nulls(file: Path, of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The false verdicts that were counted in ``file``, where they are ``of`` that baseline's run and that rule."""
    counted = read_json(file).get("small_nulls") if file.exists() else None
    return counted if counted and counted.get("of") == of else None
