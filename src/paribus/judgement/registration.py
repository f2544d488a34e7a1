"""What was fixed before the first run of a study, as it was written down: no class of it is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from paribus.design.contrasts import Contrast
from paribus.design.metrics import Metric
from paribus.design.study import BASELINE
from paribus.judgement.rules import Rule


@dataclass(frozen=True)
class RegisteredStudy:
    """A study as its registration holds it.

    Args:
        primary: treatments that share the error rate with the contrasts.
        null: treatments that are meant to be the same function as the baseline.
        contrasts: by name, main effects before interactions.
        content: everything, as ``Study.to_json`` wrote it.
    """

    question: str
    arms: tuple[str, ...]
    metric: Metric
    margin: float
    first_seed: int
    primary: tuple[str, ...]
    null: tuple[str, ...]
    contrasts: Mapping[str, Contrast]
    content: Mapping[str, Any] = field(repr=False)

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
            arms=tuple(data["arms"]),
            metric=Metric(**data["metric"]),
            margin=data["margin"],
            first_seed=data["first_seed"],
            primary=tuple(data["primary"]),
            null=tuple(data["null"]),
            # A file holds them by name.
            contrasts=dict(sorted(contrasts.items(), key=lambda item: len(item[1].factors))),
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
    tuning: Mapping[str, Any] | None = None
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
            "tuning": self.tuning,
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
            tuning=data.get("tuning"),
            attempt=data["attempt"],
            judged_before=tuple(data["judged_before"]),
            digest=data["digest"],
        )


def _tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(items) for name, items in lists.items()}
