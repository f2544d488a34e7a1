"""What was fixed before the first run of a study, as it was written down: no class of it is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from paribus.design.contrasts import Contrast
from paribus.design.metrics import Metric
from paribus.design.plain import read_plain, to_plain
from paribus.design.recipe import Training
from paribus.design.spec_names import SpecName, read_value
from paribus.design.study import BASELINE
from paribus.judgement.rules import Rule
from paribus.judgement.tuned import Tuned


@dataclass(frozen=True)
class RegisteredArm:
    """An arm as its registration holds it.

    Args:
        training: its recipe, but for ``optimizer`` and ``schedule``, which are names here.
    """

    model: SpecName
    training: Training = field(repr=False)

    @property
    def optimizer(self) -> SpecName:
        return cast(SpecName, self.training.optimizer)

    @property
    def schedule(self) -> SpecName | None:
        return cast(SpecName | None, self.training.schedule)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> RegisteredArm:
        """The arm that ``Arm.to_json`` wrote."""
        return RegisteredArm(
            SpecName.from_json(data["model"]), Training.from_json(data["training"], SpecName.from_json)
        )


@dataclass(frozen=True)
class RegisteredStudy:
    """A study as its registration holds it.

    Args:
        data: a SpecName.
        primary: treatments that share the error rate with the contrasts.
        null: treatments that are meant to be the same function as the baseline.
        changes: by treatment, the path patterns that it may differ in.
        contrasts: by name, main effects before interactions.
        extra_rates: what a verdict's learning rate is multiplied by in runs outside the pairs.
        width_response: path pattern of the baseline's width, where other widths run too.
        content: everything, as ``Study.to_json`` wrote it.
    """

    question: str
    arms: Mapping[str, RegisteredArm]
    data: Any
    metric: Metric
    margin: float
    first_seed: int
    max_seeds: int
    primary: tuple[str, ...]
    null: tuple[str, ...]
    changes: Mapping[str, tuple[str, ...]]
    contrasts: Mapping[str, Contrast]
    extra_rates: tuple[float, ...]
    width_response: str | None
    content: Mapping[str, Any] = field(repr=False)

    @property
    def treatments(self) -> dict[str, RegisteredArm]:
        return {name: arm for name, arm in self.arms.items() if name != BASELINE}

    @property
    def without_extra_rates(self) -> tuple[str, ...]:
        """What gets a verdict, and no pair at other learning rates."""
        return (*self.null, *self.contrasts)

    def to_json(self) -> Mapping[str, Any]:
        """What ``Study.to_json`` wrote."""
        return self.content

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> RegisteredStudy:
        """The study that ``Study.to_json`` wrote."""
        contrasts = {name: Contrast.from_json(contrast) for name, contrast in data.get("contrasts", {}).items()}
        return RegisteredStudy(
            question=data["question"],
            arms={name: RegisteredArm.from_json(arm) for name, arm in data["arms"].items()},
            data=read_value(data["data"]),
            metric=Metric.from_json(data["metric"]),
            margin=data["margin"],
            first_seed=data["first_seed"],
            max_seeds=data["max_seeds"],
            primary=tuple(data["primary"]),
            null=tuple(data["null"]),
            changes=_tuples(data.get("changes", {})),
            # A file holds them by name.
            contrasts=dict(sorted(contrasts.items(), key=lambda item: len(item[1].factors))),
            extra_rates=tuple(data.get("extra_rates", data.get("rate_probe", ()))),  # "rate_probe": in older stores
            width_response=data.get("width_response"),
            content=data,
        )


@dataclass(frozen=True)
class RegisteredRun:
    """A run outside the pairs that was planned: what it differs in, and its digest.

    Args:
        arm, factor: at another learning rate, the arm and what its rate is multiplied by.
        width: of a baseline that is narrower or wider.
        unmeasured: the digest of the same training without a metric of the user's own; None where that is ``digest``.
    """

    seed: int
    digest: str
    unmeasured: str | None = None
    arm: str | None = None
    factor: float | None = None
    width: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that are set."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Registration:
    """A study, its rule, its data and the digest of every run it may need, fixed before the first run.

    Args:
        data: title and digest of the corpus.
        evaluation_digest: of the documents that are scored.
        runs: the digests of each arm's runs, seed by seed from the study's first.
        unmeasured: the same without the user's own metric; empty where the study has none.
        extra_runs: by kind, "rates", "null" and "widths".
        tuning: what was tried before the recipes were chosen.
        attempt: which registration it is on these documents of this question or these runs, counted from 1.
        judged_before: the registrations that saw the same runs.
        digest: over all of it, so that an edit shows.
    """

    name: str
    study: RegisteredStudy
    rule: Rule
    data: Mapping[str, Any]
    evaluation_digest: str
    device: str
    runs: Mapping[str, tuple[str, ...]]
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extra_runs: Mapping[str, tuple[RegisteredRun, ...]] = field(default_factory=dict)
    tuning: Tuned | None = None
    attempt: int = 1
    judged_before: tuple[str, ...] = ()
    digest: str = ""

    @property
    def seeds(self) -> range:
        """The seeds that may be needed, in order."""
        first = self.study.first_seed
        return range(first, first + len(self.runs[BASELINE]))

    def seeded(self, arm: str) -> Iterator[tuple[int, str]]:
        """Seed and run digest of every run of ``arm``, in order."""
        return zip(self.seeds, self.runs[arm], strict=True)

    def fixes_the_same(self, other: Registration) -> bool:
        """Whether both registered the same study, under whatever names and as whatever attempt."""
        return self._unnamed().to_json() == other._unnamed().to_json()  # a file holds arms by name, in another order

    def _unnamed(self) -> Registration:
        return replace(self, name="", attempt=1, judged_before=(), digest="")

    def to_json(self) -> dict[str, Any]:
        """What ``registration.json`` holds, without its format."""
        return {
            "name": self.name,
            "study": self.study.to_json(),
            "rule": self.rule.to_json(),
            "data": dict(self.data),
            "evaluation_digest": self.evaluation_digest,
            "device": self.device,
            "runs": {arm: list(digests) for arm, digests in self.runs.items()},
            **({"unmeasured": {arm: list(d) for arm, d in self.unmeasured.items()}} if self.unmeasured else {}),
            "trials": {kind: [run.to_json() for run in runs] for kind, runs in self.extra_runs.items()},
            "tuning": to_plain(self.tuning),
            "attempt": self.attempt,
            "judged_before": list(self.judged_before),
            "digest": self.digest,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Registration:
        """The registration that ``to_json`` wrote."""
        return Registration(
            name=data["name"],
            study=RegisteredStudy.from_json(data["study"]),
            rule=Rule.from_json(data["rule"]),
            data=data["data"],
            evaluation_digest=data["evaluation_digest"],
            device=data["device"],
            runs=_tuples(data["runs"]),
            unmeasured=_tuples(data.get("unmeasured", {})),
            extra_runs={k: tuple(RegisteredRun(**row) for row in rows) for k, rows in data.get("trials", {}).items()},
            tuning=read_plain(Tuned, tuned) if (tuned := data.get("tuning")) else None,
            attempt=data["attempt"],
            judged_before=tuple(data["judged_before"]),
            digest=data["digest"],
        )


def _tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(items) for name, items in lists.items()}
