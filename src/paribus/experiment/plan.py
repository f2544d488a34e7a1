"""Every run a study may need: the pairs, and the extra runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from paribus.design.digests import digest_json
from paribus.design.study import Arm, Study
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
    """One arm with one seed.

    Args:
        digest: names everything that can change the run's result.
        training_digest: the same without a metric of the user's own, which changes no weight.
        identity: what ``digest`` is over.
    """

    arm: str
    seed: int
    digest: str
    training_digest: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """Every run that the pairs of a study may need: of each arm, seed by seed."""

    study: Study
    environment: Environment
    runs: Mapping[str, tuple[Run, ...]]

    @property
    def seeds(self) -> range:
        return range(self.study.first_seed, self.study.first_seed + self.study.max_seeds)

    def run(self, arm: str, seed: int) -> Run:
        """The run of ``arm`` with ``seed``, one of ``seeds``."""
        return self.runs[arm][self.seeds.index(seed)]

    def __iter__(self) -> Iterator[Run]:
        """Seed by seed, the baseline before its treatments."""
        return (run for of_seed in zip(*self.runs.values(), strict=True) for run in of_seed)


def plan(study: Study, environment: Environment) -> Plan:
    """The runs of ``study`` in ``environment``. Raises SpecError for a spec without readable source."""
    measured, runs = identify_metric(study.metric), {}
    for name, arm in study.arms.items():
        identity = {**_arm_identity(arm), **measured}
        seeds = range(study.first_seed, study.first_seed + study.max_seeds)
        runs[name] = tuple(_identify(name, seed, identity, environment) for seed in seeds)
    return Plan(study, environment, runs)


def identify_run(plan: Plan, name: str, arm: Arm, seed: int, nudged: bool = False) -> Run:
    """A run outside the pairs: of an ``arm`` called ``name`` that the study does not have.

    ``nudged``: every initial weight is moved by one unit in the last place.
    Raises SpecError for a spec without readable source.
    """
    identity = {**_arm_identity(arm), **identify_metric(plan.study.metric), **({"nudged": True} if nudged else {})}
    return _identify(name, seed, identity, plan.environment)


def _identify(arm: str, seed: int, of_arm: Mapping[str, Any], environment: Environment) -> Run:
    identity = {**of_arm, **asdict(environment), "seed": seed}
    unmeasured = {key: value for key, value in identity.items() if key != "metric"}
    digest = _digest(identity)
    return Run(arm, seed, digest, _digest(unmeasured) if "metric" in identity else digest, identity)


def _digest(identity: Mapping[str, Any]) -> str:
    return digest_json(identity)[:32]


def _arm_identity(arm: Arm) -> dict[str, Any]:
    return {
        "model": arm.model.digest,
        "training": {**arm.training.to_json(), "optimizer": arm.training.optimizer.digest},
        **source_identity(arm),
    }
