"""What is fixed before the first run: the study, its rule, its data, and the identity of every run."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paribus.contrasts import Contrast
from paribus.errors import JudgementError, StoreError
from paribus.judgement import Rule, compare, compare_all, describe_on
from paribus.judgement.comparison import Comparison, Pair
from paribus.metrics import Metric
from paribus.records import FORMAT, Finding, Record, Store, read_json, write_json
from paribus.runs import Plan
from paribus.study import BASELINE

if TYPE_CHECKING:
    from paribus.trials import Trial

Records = dict[str, dict[int, Record]]
"""Arm to seed to record; finished runs only."""


def register(
    store: Store,
    name: str,
    plan: Plan,
    data: Mapping[str, Any],
    evaluation_digest: str,
    findings: Sequence[Finding] = (),
    trials: Mapping[str, Sequence[Trial]] | None = None,
    tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The registration of this very study: the one in the store, or a new one, written before any run.

    A study that was edited is a new registration, under a name of its own. ``attempt`` counts the registrations on the
    same evaluation documents that ask the same question or saw the same pairs of runs as a primary treatment has, in a
    comparison, a rate probe or a tuning; ``judged_before`` names the latter. ``trials`` are the runs beside the pairs
    that may be made, ``tuning`` what was tried before the recipes were chosen. ``findings`` of the design are written
    beside it, with one more where runs were seen before.
    """
    study = plan.study
    content: dict[str, Any] = {
        "study": study.to_json(),
        "rule": Rule.of_study(study).to_json(),
        "data": dict(data),
        "evaluation_digest": evaluation_digest,
        "device": plan.environment.device,
        "runs": {arm: [plan.run(arm, seed).digest for seed in plan.seeds] for arm in study.arms},
        **(
            {"unmeasured": {arm: [plan.unmeasured(arm, seed).digest for seed in plan.seeds] for arm in study.arms}}
            if study.metric.measure
            else {}
        ),
        "trials": {kind: [trial.to_json() for trial in rows] for kind, rows in (trials or {}).items()},
        "tuning": tuning,
    }
    others = [read_registration(store, other) for other in store.study_names()]
    registration = next((o for o in others if {key: o.get(key) for key in content} == content), None)
    if registration is None:
        asked = [o for o in others if o["evaluation_digest"] == evaluation_digest]
        weighed = {arm for contrast in study.contrasts.values() for arm in contrast.weights} - {BASELINE}
        judged = _pairs_of(content, {*study.primary, *weighed})
        shared = [o["name"] for o in asked if _have_seen(o, judged)]
        same = [o["name"] for o in asked if _words(o["study"]["question"]) == _words(study.question)]
        content |= {
            "format": FORMAT,
            "name": _free_name(name, {other["name"] for other in others}),
            "attempt": 1 + len({*shared, *same}),
            "judged_before": shared,
        }
        registration = {**content, "digest": _digest(content)}
    folder = store.study_folder(registration["name"])
    findings = [*findings, *_repeated_looks(registration["judged_before"])]
    write_json(folder / "findings.json", [finding.to_json() for finding in findings])
    write_json(folder / "registration.json", registration)
    return registration


def _pairs_of(content: Mapping[str, Any], arms: Collection[str]) -> set[tuple[str, str]]:
    """The pairs of runs that were, or will be, compared, also without the user's metric: the models are the same."""
    tables = [content["runs"], *filter(None, [content.get("unmeasured")])]
    return {pair for runs in tables for arm in arms for pair in zip(runs[BASELINE], runs[arm], strict=True)}


def _have_seen(other: Mapping[str, Any], pairs: set[tuple[str, str]]) -> bool:
    """Whether an earlier registration compared one of these ``pairs`` of runs, or tried both of its runs."""
    tuning = other.get("tuning") or {"arms": {}}
    rows = [row for arm in tuning["arms"].values() for row in arm["curve"]]
    tried = {digest for row in rows for key in ("digests", "unmeasured") for digest in row.get(key, ())}
    probed = other.get("trials", {}).get("rates", ())
    tried |= {row[key] for row in probed for key in ("digest", "unmeasured") if key in row}
    compared = _pairs_of(other, other["runs"].keys() - {BASELINE})
    return bool(compared & pairs) or any(tried.issuperset(pair) for pair in pairs)


def _words(question: str) -> list[str]:
    return re.findall(r"\w+", question.lower())


def _free_name(name: str, taken: Collection[str]) -> str:
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(free for free in names if free not in taken)


def _repeated_looks(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    return [
        Finding(
            check="repeated look",
            severity="doubt",
            message=f"runs of this study were judged, tuned or probed before, in {', '.join(map(repr, names))}: "
            "the error rate holds for the first look at them",
            evidence={"judged_before": list(names)},
            remedy="`paribus run STUDY --confirm` judges fresh seeds on documents that were held back",
        )
    ]


def read_registration(store: Store, name: str) -> dict[str, Any]:
    """The registration of study ``name``.

    Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
    """
    path = store.study_folder(name) / "registration.json"
    if not path.exists():
        raise StoreError(f"{store.folder} holds no study {name!r}; there is {', '.join(store.study_names()) or 'none'}")
    registration = read_json(path)
    content = {key: value for key, value in registration.items() if key != "digest"}
    if registration.get("digest") != _digest(content):
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
    fields = {name: value for name, value in registration["rule"].items() if name not in ("a_sign", "a_equiv")}
    rule, metric = Rule(**fields), Metric(**study["metric"])
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


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
