"""What is fixed before the first run: the study, its rule, its data, and the identity of every run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from paribus.design.digests import digest_json
from paribus.design.study import BASELINE
from paribus.experiment.extra_runs import ExtraRun
from paribus.experiment.plan import Plan
from paribus.experiment.stored_evidence import read_registration
from paribus.judgement import Registration, Rule
from paribus.judgement.registration import RegisteredStudy
from paribus.judgement.tuned import Tuned
from paribus.store.files import FORMAT
from paribus.store.records import Finding
from paribus.store.store import Store


def register(
    store: Store,
    name: str,
    plan: Plan,
    data: Mapping[str, Any],
    evaluation_digest: str,
    findings: Sequence[Finding] = (),
    extra_runs: Mapping[str, Sequence[ExtraRun]] | None = None,
    tuning: Tuned | None = None,
) -> Registration:
    """The registration of this very study: the one in the store, or a new one, written before any run.

    A study that was edited is a new registration, under a name of its own. ``attempt`` counts the registrations on the
    same evaluation documents that ask the same question or saw the same pairs of runs as a primary treatment has, in a
    comparison, in extra runs or a tuning; ``judged_before`` names the latter. ``extra_runs`` are those that may be
    made, ``tuning`` what was tried before the recipes were chosen. ``findings`` of the design are written beside it,
    with one more where runs were seen before.
    """
    planned = _describe(plan, data, evaluation_digest, extra_runs or {}, tuning)
    others = [read_registration(store, other) for other in store.study_names()]
    registration = next((other for other in others if other.fixes_the_same(planned)), None)
    registration = registration or _count_attempt(planned, name, others)
    findings = [*findings, *_repeated_looks(registration.judged_before)]
    store.write_findings(registration.name, findings)
    store.write_registration(registration.name, {"format": FORMAT, **registration.to_json()})
    return registration


def _describe(
    plan: Plan,
    data: Mapping[str, Any],
    evaluation_digest: str,
    extra_runs: Mapping[str, Sequence[ExtraRun]],
    tuning: Tuned | None,
) -> Registration:
    """What is to be registered, without a name yet."""
    study = plan.study
    unmeasured = {arm: tuple(run.training_digest for run in runs) for arm, runs in plan.runs.items()}
    return Registration(
        name="",
        study=RegisteredStudy.from_json(study.to_json()),
        rule=Rule.of_study(study),
        data=dict(data),
        evaluation_digest=evaluation_digest,
        device=plan.environment.device,
        runs={arm: tuple(run.digest for run in runs) for arm, runs in plan.runs.items()},
        unmeasured=unmeasured if study.metric.measure else {},
        extra_runs={kind: tuple(extra.registered for extra in runs) for kind, runs in extra_runs.items()},
        tuning=tuning,
    )


def _count_attempt(planned: Registration, name: str, others: Sequence[Registration]) -> Registration:
    study = planned.study
    weighed = {arm for contrast in study.contrasts.values() for arm in contrast.weights} - {BASELINE}
    pairs = _pairs_of(planned, {*study.primary, *weighed})
    scored_alike = [other for other in others if other.evaluation_digest == planned.evaluation_digest]
    shared = [other.name for other in scored_alike if _have_seen(other, pairs)]
    same = [other.name for other in scored_alike if _words(other.study.question) == _words(study.question)]
    registration = replace(
        planned,
        name=_free_name(name, {other.name for other in others}),
        attempt=1 + len({*shared, *same}),
        judged_before=tuple(shared),
    )
    content = {key: value for key, value in registration.to_json().items() if key != "digest"}
    return replace(registration, digest=digest_json({"format": FORMAT, **content}))


def _pairs_of(registration: Registration, arms: Iterable[str]) -> set[tuple[str, str]]:
    """The pairs of runs that were, or will be, compared, also without the user's metric: the models are the same."""
    tables = [registration.runs, *filter(None, [registration.unmeasured])]
    return {pair for runs in tables for arm in arms for pair in zip(runs[BASELINE], runs[arm], strict=True)}


def _have_seen(other: Registration, pairs: set[tuple[str, str]]) -> bool:
    """Whether an earlier registration compared one of these ``pairs`` of runs, or tried both of its runs."""
    trials = [trial for arm in other.tuning.arms.values() for trial in arm.curve] if other.tuning else []
    tried = {digest for trial in trials for digest in (*trial.digests, *(trial.unmeasured or ()))}
    tried |= {digest for run in other.extra_runs.get("rates", ()) for digest in (run.digest, run.unmeasured) if digest}
    compared = _pairs_of(other, other.runs.keys() - {BASELINE})
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
            message="runs of this study were judged, tuned or run at another rate before, in "
            f"{', '.join(map(repr, names))}: the error rate holds for the first look at them",
            evidence={"judged_before": list(names)},
            remedy="`paribus run STUDY --confirm` judges fresh seeds on documents that were held back",
        )
    ]
