"""What the checks after training look at: records, measured times, and extra runs. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paribus.judgement import Judged
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.judgement.speed import MeasuredTimes
from paribus.store.records import Finding, Record

ReadSteps = Callable[[str], list[dict[str, Any]]]
"""From the digest of a run to the lines of its ``steps.jsonl``."""


@dataclass(frozen=True)
class TrainedStudy:
    """What the runs of a study left behind."""

    study: RegisteredStudy
    records: Records
    read_steps: ReadSteps
    shown: ClassVar[frozenset[str]] = frozenset({"records", "steps"})


@dataclass(frozen=True)
class TimedStudy:
    """A study and the times of its arms."""

    study: RegisteredStudy
    times: MeasuredTimes
    shown: ClassVar[frozenset[str]] = frozenset({"times"})


@dataclass(frozen=True)
class ExtraRuns:
    """A judged study and the runs that were made for it besides its pairs, those of its tuning included.

    Args:
        by_numbers: judged without any finding: what could turn is what the numbers say.
        judged: the same, judged with the findings so far.
        found: what was found so far; it says which arms are the baseline's function.
    """

    by_numbers: Judged
    judged: Judged
    found: Sequence[Finding] = ()

    @property
    def shown(self) -> frozenset[str]:
        others = {"tuning": self.judged.evidence.registration.tuning, "null": self.judged.null}
        extra = {"rates", "widths"} & self.judged.extra_runs.keys()
        return frozenset({"verdicts"} | extra | {name for name in others if others[name]})

    @property
    def study(self) -> RegisteredStudy:
        return self.judged.study


def select_done(runs: Mapping[int, Record]) -> dict[int, Record]:
    """The finished runs of an arm, by seed in order."""
    return {seed: record for seed, record in sorted(runs.items()) if record.status == "done"}
