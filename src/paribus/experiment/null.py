"""The baseline against a copy of itself, read from the runs that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paribus.design.study import BASELINE
from paribus.experiment.comparisons import seeded
from paribus.judgement import Rule
from paribus.judgement.power import calibrate_null
from paribus.store.store import Store


def read_null(store: Store, registration: Mapping[str, Any]) -> dict[str, Any] | None:
    """The calibration of a registered study from the runs that are there; None without three finished pairs."""
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
    fields = {key: value for key, value in registration["rule"].items() if key not in ("a_sign", "a_equiv")}
    plain, nudged = zip(*pairs, strict=True)
    return calibrate_null(plain, nudged, Rule(**fields), registration["study"]["metric"]["unit"]).to_json()
