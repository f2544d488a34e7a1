"""A registered study judged from what lies in its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.experiment.comparisons import Records, compare_records, read_records, read_registration
from paribus.experiment.extra_runs import read_trials
from paribus.experiment.null import read_null
from paribus.experiment.plan import is_asked_for
from paribus.judgement import decide, describe_difference, describe_method, suspend
from paribus.judgement.comparison import Comparison
from paribus.judgement.summaries import summarize_arm
from paribus.store.files import FORMAT, read_json, write_json
from paribus.store.records import Finding, read_findings
from paribus.store.store import Store

TIMES = "timing.json"


def judge(store: str | Path, name: str) -> dict[str, Any]:
    """Judge a registered study from what lies in the store and write ``verdicts.json``; imports no user code.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration
    was changed.
    """
    from paribus.audits import audit_records, audit_times, audit_trials

    place = Store.open(store)
    registration = read_registration(place, name)
    finished = read_records(place, registration)
    comparisons = compare_records(registration, finished)
    records = _keep_judged(finished, comparisons)
    findings = read_findings(place.study_folder(name) / "findings.json")
    findings += audit_records(registration["study"], records, place.read_steps)
    trials, null = _read_asked_trials(place, registration, comparisons, findings), read_null(place, registration)
    findings += audit_trials(registration, comparisons, records, trials, null, findings)
    beside = {"trials": trials, "null": null, "tuning": registration.get("tuning"), "timing": None}
    if (times := place.study_folder(name) / TIMES).exists():
        measured = read_json(times)["measured"]
        doubts = [finding.to_json() for finding in audit_times(registration["study"], measured)]
        beside["timing"] = {"measured": {**measured, "findings": doubts}}
    judged = {**_describe(registration, records, comparisons, findings), **beside}
    write_json(place.study_folder(name) / "verdicts.json", judged)
    return judged


def without_extra_rates(study: Mapping[str, Any]) -> list[str]:
    """What gets a verdict, and no pair at other learning rates."""
    return [*study["null"], *study.get("contrasts", ())]


def _read_asked_trials(
    place: Store, registration: Mapping[str, Any], comparisons: Mapping[str, Comparison], findings: Sequence[Finding]
) -> dict[str, list[dict[str, Any]]]:
    """The trials that were made for this study: others of the store may have made the same runs."""
    verdicts = {name: decide(c, findings) for name, c in comparisons.items() if c.primary}
    kinds = {name: verdict.kind if verdict else None for name, verdict in verdicts.items()}
    if None in kinds.values():
        return {}
    unprobed = without_extra_rates(registration["study"])
    found = read_trials(place, registration)
    asked = {kind: [row for row in rows if is_asked_for(kind, row, kinds, unprobed)] for kind, rows in found.items()}
    return {kind: rows for kind, rows in asked.items() if rows}


def _keep_judged(records: Records, comparisons: Mapping[str, Comparison]) -> Records:
    """The runs that the comparisons read, and the failures that keep an open one from going on.

    Runs ahead of a verdict finish or not as time has it; nothing that is said may depend on them.
    """
    kept: Records = {arm: {} for arm in records}
    for comparison in comparisons.values():
        end = comparison.rule.first_seed + comparison.n_pairs
        pair = [records[arm].get(end) for arm in comparison.arms]
        stuck = any(record is not None and record.status == "failed" for record in pair)
        if stuck and (not comparison.primary or decide(comparison) is None):
            end += 1
        for arm in comparison.arms:
            kept[arm] |= {seed: record for seed, record in records[arm].items() if seed < end}
    return {arm: dict(sorted(of_arm.items())) for arm, of_arm in kept.items()}


def _sharing(study: Mapping[str, Any]) -> str:
    """What shares the error rate."""
    kinds = {"primary treatments": study["primary"], "contrasts": study.get("contrasts")}
    return " and ".join(kind for kind, names in kinds.items() if names)


def _describe(
    registration: Mapping[str, Any], records: Records, comparisons: Mapping[str, Comparison], findings: list[Finding]
) -> dict[str, Any]:
    """Everything a report says, as plain values; what a clock measured stands in ``measured`` alone."""
    study = registration["study"]
    treatments, contrasts, complete = {}, {}, True
    for name, comparison in comparisons.items():
        verdict = decide(comparison, findings) if comparison.primary else None
        if comparison.primary and verdict is None:
            complete, verdict = False, suspend(comparison, findings, "not finished")
        said = {
            "comparison": comparison.to_json(),
            "verdict": verdict.to_json() if verdict else None,
            "description": describe_difference(comparison),
        }
        if comparison.contrast:
            contrasts[name] = said
        else:
            treatments[name] = {"primary": comparison.primary, "null": name in study["null"], **said}
    seeds = {
        arm: max((comparison.seeds for comparison in comparisons.values() if arm in comparison.arms), key=len)
        for arm in records
    }
    arms = {name: summarize_arm([records[name][seed] for seed in seeds[name]]) for name in records}
    return {
        "format": FORMAT,
        "name": registration["name"],
        "question": study["question"],
        "attempt": registration["attempt"],
        "complete": complete,
        "method": describe_method(next(iter(comparisons.values())).rule, _sharing(study)),
        "study": study,
        "registration_digest": registration["digest"],
        "data": registration["data"],
        "evaluation_digest": registration["evaluation_digest"],
        "device": registration["device"],
        "packages": next((r.pairing["packages"] for a in records.values() for r in a.values() if r.pairing), {}),
        "treatments": treatments,
        **({"contrasts": contrasts} if contrasts else {}),
        "failed_runs": [
            {"arm": arm, "seed": seed, "error": record.error}
            for arm, of_arm in records.items()
            for seed, record in of_arm.items()
            if record.status == "failed"
        ],
        "findings": [finding.to_json() for finding in findings],
        "arms": {name: {key: value for key, value in arm.items() if key != "measured"} for name, arm in arms.items()},
        "measured": {name: arm["measured"] for name, arm in arms.items()},
    }
