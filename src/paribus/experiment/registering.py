"""What is fixed before the first run: the study, its rule, its data, and the identity of every run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paribus.design.study import BASELINE
from paribus.experiment.comparisons import digest_content, read_registration
from paribus.experiment.plan import Plan
from paribus.judgement import Rule
from paribus.store.files import FORMAT, write_json
from paribus.store.records import Finding
from paribus.store.store import Store

if TYPE_CHECKING:
    from paribus.experiment.plan import Trial


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
    comparison, at another rate or in a tuning; ``judged_before`` names the latter. ``trials`` are the runs beside the pairs
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
        registration = {**content, "digest": digest_content(content)}
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
            message=f"runs of this study were judged, tuned or run at another rate before, in {', '.join(map(repr, names))}: "
            "the error rate holds for the first look at them",
            evidence={"judged_before": list(names)},
            remedy="`paribus run STUDY --confirm` judges fresh seeds on documents that were held back",
        )
    ]
