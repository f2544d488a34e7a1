"""What the checks after training look at: records, measured times, and extra runs. No torch.

``study`` is ``Study.to_json()`` as it was registered; nothing is imported on its word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from paribus.judgement import Judged
from paribus.judgement.judged import tell_extra_run
from paribus.store.records import Finding, Record


@dataclass(frozen=True)
class TrainedStudy:
    """What the runs of a study left behind.

    Args:
        records: arm to seed to record.
        read_steps: from the digest of a run to the lines of its ``steps.jsonl``.
    """

    study: Mapping[str, Any]
    records: Mapping[str, Mapping[int, Record]]
    read_steps: Callable[[str], list[dict[str, Any]]]
    shown: ClassVar[frozenset[str]] = frozenset({"records", "steps"})


@dataclass(frozen=True)
class TimedStudy:
    """A study and what ``measure_times`` has ``measured``."""

    study: Mapping[str, Any]
    measured: Mapping[str, Any]
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
        return frozenset(
            {"rates", "widths"} & self.judged.extra_runs.keys() | {name for name in others if others[name]}
        )

    @cached_property
    def study(self) -> Mapping[str, Any]:
        return self.judged.study.to_json()

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The runs of a kind as ``tell_extra_run`` gives them."""
        return [tell_extra_run(*run, self.judged.study.metric.key) for run in self.judged.extra_runs[kind]]


def select_done(runs: Mapping[int, Record]) -> dict[int, Record]:
    """The finished runs of an arm, by seed in order."""
    return {seed: record for seed, record in sorted(runs.items()) if record.status == "done"}
