"""Everything a report says of a judged study, as data: ``report.json`` holds it, and every page is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paribus.design.plain import fields_to_plain, read_plain
from paribus.errors import StoreError
from paribus.judgement.comparison import Comparison
from paribus.judgement.power import NullCalibration
from paribus.judgement.registration import RegisteredRun, RegisteredStudy
from paribus.judgement.speed import MeasuredTimes
from paribus.judgement.summaries import ArmSummary
from paribus.judgement.tuned import Tuned
from paribus.judgement.verdicts import Verdict
from paribus.store.files import FORMAT
from paribus.store.records import Finding


@dataclass(frozen=True)
class Row:
    """What is said of one treatment or contrast.

    Args:
        verdict: None for a descriptive treatment.
        description: the difference in words.
        null: whether a treatment is registered as the same function as the baseline.
    """

    comparison: Comparison
    verdict: Verdict | None
    description: str
    null: bool = False


@dataclass(frozen=True)
class FailedRun:
    """A run that ended in an error, and its traceback."""

    arm: str
    seed: int
    error: str | None


@dataclass(frozen=True)
class FinishedExtraRun:
    """A run outside the pairs: what was planned, how it ended, its value of the metric, and its parameters."""

    run: RegisteredRun
    status: str
    value: float | None
    parameters: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it side by side; ``parameters`` where the run is done."""
        sizes = {"parameters": self.parameters} if self.status == "done" else {}
        return {**self.run.to_json(), "status": self.status, "value": self.value, **sizes}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> FinishedExtraRun:
        """The extra run that ``to_json`` wrote."""
        return FinishedExtraRun(
            read_plain(RegisteredRun, data), data["status"], data.get("value"), data.get("parameters")
        )


@dataclass(frozen=True)
class Report:
    """A judged study.

    Args:
        is_complete: whether everything that gets a verdict has one.
        method: how verdicts are reached, in words.
        data: title and digest of the corpus.
        packages: name to version.
        treatments, contrasts: by name.
        extra_runs: by kind.
        tuning: what was tried before the recipes were chosen.
        times: where the arms were timed.
    """

    name: str
    question: str
    attempt: int
    is_complete: bool
    method: str
    study: RegisteredStudy
    registration_digest: str
    data: Mapping[str, Any]
    evaluation_digest: str
    device: str
    packages: Mapping[str, str]
    treatments: Mapping[str, Row]
    contrasts: Mapping[str, Row]
    failed_runs: tuple[FailedRun, ...]
    findings: tuple[Finding, ...]
    arms: Mapping[str, ArmSummary]
    extra_runs: Mapping[str, tuple[FinishedExtraRun, ...]] = field(default_factory=dict)
    null: NullCalibration | None = None
    tuning: Tuned | None = None
    times: MeasuredTimes | None = None

    @property
    def rows(self) -> dict[str, Row]:
        """Treatments and contrasts by name."""
        return {**self.treatments, **self.contrasts}

    def to_json(self) -> dict[str, Any]:
        """What ``report.json`` holds; what a clock measured stands under ``measured`` alone."""
        plain = fields_to_plain(self)
        plain["complete"] = plain.pop("is_complete")
        plain["trials"] = plain.pop("extra_runs")
        plain["timing"] = {"measured": times} if (times := plain.pop("times")) else None
        plain["treatments"] = {
            name: {**row, "primary": row["comparison"]["primary"]} for name, row in plain["treatments"].items()
        }
        contrasts = {
            name: {k: v for k, v in row.items() if k != "null"} for name, row in plain.pop("contrasts").items()
        }
        measured = {name: _take_measured(arm) for name, arm in plain["arms"].items()}
        return {"format": FORMAT, **plain, "measured": measured, **({"contrasts": contrasts} if contrasts else {})}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Report:
        """The report that ``to_json`` wrote. Raises StoreError for one of another format."""
        if data.get("format") != FORMAT:
            raise StoreError(f"this paribus reads reports of format {FORMAT}, got format {data.get('format')!r}")
        timing = data.get("timing")
        arms = {name: _put_measured(arm, data["measured"].get(name, {})) for name, arm in data["arms"].items()}
        renamed = {"is_complete": data["complete"], "extra_runs": data.get("trials") or {}, "arms": arms}
        older: dict[str, Any] = {"contrasts": {}, "packages": {}, "failed_runs": ()}
        return read_plain(Report, {**older, **data, **renamed, "times": timing["measured"] if timing else None})


_BESIDE = ("device_name", "curve_seconds")


def _take_measured(arm: dict[str, Any]) -> dict[str, Any]:
    """What a clock or a memory counter said of an arm, taken out of its plain summary."""
    arm["diverged"] = arm["status"].count("diverged")
    return {**arm.pop("measured"), **{name: arm.pop(name) for name in _BESIDE}}


def _put_measured(arm: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """The plain summary again from which ``_take_measured`` took it."""
    beside = {name: measured[name] for name in _BESIDE if name in measured}
    return {**arm, **beside, "measured": {name: value for name, value in measured.items() if name not in _BESIDE}}
