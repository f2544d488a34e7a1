"""Every run a study may need: the pairs, and the extra runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from paribus.design.study import BASELINE, Arm, Study, arms_without_rates
from paribus.design.tuning import LEARNING_RATE, set_hyperparameters
from paribus.store.identity import identify_metric, source_identity


@dataclass(frozen=True)
class Environment:
    """What can change a run's numbers and is no part of the study.

    Args:
        data_digest: digest of the prepared tokens, their split and their tokenizer.
        device: "cpu", "cuda" or "mps".
        torch: version of PyTorch.
    """

    data_digest: str
    device: str
    torch: str

    @staticmethod
    def here(data_digest: str, device: str) -> Environment:
        """This machine's."""
        return Environment(data_digest, device, version("torch"))


@dataclass(frozen=True)
class Run:
    """One arm with one seed. ``digest`` names everything that can change its result."""

    arm: str
    seed: int
    digest: str
    identity: dict[str, Any]

    @property
    def unmeasured(self) -> Run:
        """The same run where no metric of the user's own is measured; itself where none is."""
        return _identify(self.arm, self.seed, {key: value for key, value in self.identity.items() if key != "metric"})


@dataclass(frozen=True)
class Plan:
    """Every run a study may need, pair by pair; ``identities`` holds what all runs of an arm share."""

    study: Study
    environment: Environment
    identities: Mapping[str, Mapping[str, Any]]

    @property
    def seeds(self) -> range:
        return range(self.study.first_seed, self.study.first_seed + self.study.max_seeds)

    def run(self, arm: str, seed: int) -> Run:
        """The run of ``arm`` with ``seed``."""
        return _identify(arm, seed, {**self.identities[arm], **asdict(self.environment), "seed": seed})

    def unmeasured(self, arm: str, seed: int) -> Run:
        """The same run where no metric of the user's own is measured: it trains the same model."""
        return self.run(arm, seed).unmeasured

    def trial(self, name: str, arm: Arm, seed: int, nudged: bool = False) -> Run:
        """A run that stands beside the pairs: of an arm called ``name`` that the study does not have.

        ``nudged``: every initial weight is moved by one unit in the last place.
        Raises SpecError for a spec without readable source.
        """
        measured = identify_metric(self.study.metric)
        identity = {**_arm_identity(arm), **measured, **asdict(self.environment), "seed": seed}
        return _identify(name, seed, {**identity, "nudged": True} if nudged else identity)

    def __iter__(self) -> Iterator[Run]:
        """Seed by seed, the baseline before its treatments."""
        return (self.run(arm, seed) for seed in self.seeds for arm in self.study.arms)


def plan(study: Study, environment: Environment) -> Plan:
    """The runs of ``study`` in ``environment``. Raises SpecError for a spec without readable source."""
    measured = identify_metric(study.metric)
    return Plan(study, environment, {name: {**_arm_identity(arm), **measured} for name, arm in study.arms.items()})


def _identify(arm: str, seed: int, identity: dict[str, Any]) -> Run:
    text = json.dumps(identity, sort_keys=True)
    return Run(arm, seed, hashlib.sha256(text.encode()).hexdigest()[:32], identity)


def _arm_identity(arm: Arm) -> dict[str, Any]:
    return {
        "model": arm.model.digest,
        "training": {**arm.training.to_json(), "optimizer": arm.training.optimizer.digest},
        **source_identity(arm),
    }


NULL_PAIRS = 5
"""Pairs of the baseline and its nudged copy, on the first seeds of the study."""

WIDTHS = (0.75, 1.25)
"""What the baseline's width is multiplied by for its response."""


@dataclass(frozen=True)
class Trial:
    """One run beside the pairs; ``about`` says in what it differs from the arm it stands for."""

    run: Run
    arm: Arm
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What a registration says of it; ``unmeasured`` is its digest without a metric of the user's own."""
        unmeasured = self.run.unmeasured.digest
        told = {"unmeasured": unmeasured} if unmeasured != self.run.digest else {}
        return {"seed": self.run.seed, "digest": self.run.digest, **told, **self.about}


def plan_trials(plan: Plan) -> dict[str, tuple[Trial, ...]]:
    """The trials of a study, by what they are for; planned is not run.

    ``rates``: one pair at each factor of ``extra_rates``. ``null``: the baseline with nudged weights.
    ``widths``: the baseline narrower and wider, where ``width_response`` asks for it.
    """
    return {
        "rates": tuple(_plan_rates(plan)),
        "null": tuple(
            Trial(
                plan.trial("baseline, nudged", plan.study.arms[BASELINE], seed, nudged=True), plan.study.arms[BASELINE]
            )
            for seed in plan.seeds[:NULL_PAIRS]
        ),
        "widths": tuple(_plan_widths(plan)),
    }


def is_asked_for(
    kind: str, about: Mapping[str, Any], verdicts: Mapping[str, str | None], unprobed: Sequence[str]
) -> bool:
    """Whether a trial has something to say: at another rate where a verdict could turn, at another width once all fell.

    ``verdicts`` are the kinds of all, None where one has none yet; ``unprobed`` those that no rate can turn.
    """
    firm = {name for name, verdict in verdicts.items() if verdict in ("better", "worse", "equivalent")}
    if kind == "rates":
        turnable = firm.difference(unprobed)
        return bool(turnable) and about["arm"] in {BASELINE, *turnable}
    if kind == "widths":
        return bool(firm) and None not in verdicts.values()
    return True


def _plan_rates(plan: Plan) -> list[Trial]:
    study = plan.study
    if study.tuning or arms_without_rates(study.arms):
        return []
    trials = []
    for factor in study.extra_rates:
        for name in (BASELINE, *study.primary):
            arm = study.arms[name]
            arm = arm.replace(training=set_hyperparameters(arm.training, {LEARNING_RATE: factor}))
            run = plan.trial(f"{name} at {factor:g} x the rate", arm, study.first_seed)
            trials.append(Trial(run, arm, {"arm": name, "factor": factor}))
    return trials


def _plan_widths(plan: Plan) -> list[Trial]:
    study = plan.study
    if study.width_response is None:
        return []
    baseline, (width,) = study.arms[BASELINE], study.response_widths
    trials = []
    for wide in sorted({max(1, round(factor * width)) for factor in WIDTHS} - {width}):
        arm = baseline.replace(model=baseline.model.replace(study.width_response, wide))
        for seed in plan.seeds[: study.min_seeds]:
            run = plan.trial(f"baseline, width {wide}", arm, seed)
            trials.append(Trial(run, arm, {"width": wide}))
    return trials
