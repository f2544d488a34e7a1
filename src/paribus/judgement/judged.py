"""A study judged: its comparisons, their verdicts, and everything a report says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from paribus.design.study import BASELINE
from paribus.judgement.comparison import Comparison
from paribus.judgement.evidence import Evidence, Records
from paribus.judgement.power import NullCalibration, calibrate_null
from paribus.judgement.registration import RegisteredRun, RegisteredStudy
from paribus.judgement.report_data import FailedRun, FinishedExtraRun, Report, Row
from paribus.judgement.rules import describe_method
from paribus.judgement.summaries import summarize_arm
from paribus.judgement.verdicts import Verdict, decide, describe_difference, describe_on, is_condemned, suspend
from paribus.store.records import Record

FEWEST_NULL_PAIRS = 3


@dataclass(frozen=True)
class Judged:
    """What the evidence of a study says.

    Args:
        verdicts: of every primary treatment and contrast; None where its pairs do not suffice yet.
    """

    evidence: Evidence
    verdicts: Mapping[str, Verdict | None]

    @property
    def study(self) -> RegisteredStudy:
        return self.evidence.registration.study

    @property
    def comparisons(self) -> Mapping[str, Comparison]:
        return self.evidence.comparisons

    @property
    def is_complete(self) -> bool:
        """Whether everything that gets a verdict has one."""
        return None not in self.verdicts.values()

    @property
    def wanted_pairs(self) -> dict[str, int]:
        """How many pairs each comparison needs before the next judgement; where that is what it has, it is done.

        One without a verdict yet wants one more (at first ``n_min``); a decided one has retired. A descriptive one is
        described on as many pairs as ``describe_on`` says, unless a run of it diverged.
        """
        wanted = {}
        for name, verdict in self.verdicts.items():
            comparison = self.comparisons[name]
            more = max(comparison.n_pairs + 1, comparison.rule.n_min)
            wanted[name] = more if verdict is None else comparison.n_pairs
        primary, needs = {name: self.comparisons[name] for name in wanted}, dict(wanted)
        for name, comparison in self.comparisons.items():
            if not comparison.primary:
                has_diverged = any(map(math.isnan, comparison.differences))
                is_over = has_diverged or is_condemned(comparison, self.evidence.findings)
                described = max(comparison.n_pairs, describe_on(name, primary, needs))
                wanted[name] = comparison.n_pairs if is_over else described
        return wanted

    @cached_property
    def records(self) -> Records:
        """The runs that the comparisons read, and the failures that keep an open one from going on.

        Runs ahead of a verdict finish or not as time has it; nothing that is reported may depend on them.
        """
        finished = self.evidence.records
        kept: dict[str, dict[int, Record]] = {arm: {} for arm in finished}
        for comparison in self.comparisons.values():
            end = comparison.rule.first_seed + comparison.n_pairs
            pair = [finished[arm].get(end) for arm in comparison.arms]
            is_stuck = any(record is not None and record.status == "failed" for record in pair)
            if is_stuck and not (comparison.primary and comparison.has_ended):
                end += 1
            for arm in comparison.arms:
                kept[arm] |= {seed: record for seed, record in finished[arm].items() if seed < end}
        return {arm: dict(sorted(of_arm.items())) for arm, of_arm in kept.items()}

    @cached_property
    def extra_runs(self) -> dict[str, tuple[FinishedExtraRun, ...]]:
        """By kind, the extra runs that are finished and were made for this study: others may have made the same."""
        if not self.is_complete:
            return {}
        finished, found = self.evidence.extra_runs, {}
        for kind, runs in self.evidence.registration.extra_runs.items():
            due = [run for run in runs if run.digest in finished and self.is_due(kind, run.arm)]
            if due:
                found[kind] = tuple(self._finish(run, finished[run.digest]) for run in due)
        return found

    def _finish(self, run: RegisteredRun, record: Record) -> FinishedExtraRun:
        value = record.metrics.get(self.study.metric.key)
        return FinishedExtraRun(run, record.status, value, record.metrics.get("parameters"))

    def is_due(self, kind: str, arm: str | None = None) -> bool:
        """Whether an extra run has something to tell.

        At another rate, of ``arm``, where its verdict could turn; at another width once all verdicts are there.
        """
        kinds = {name: verdict and verdict.kind for name, verdict in self.verdicts.items()}
        firm = {name for name, verdict in kinds.items() if verdict in ("better", "worse", "equivalent")}
        if kind == "rates":
            turnable = firm.difference(self.study.without_extra_rates)
            return bool(turnable) and arm in {BASELINE, *turnable}
        if kind == "widths":
            return bool(firm) and self.is_complete
        return True

    @cached_property
    def null(self) -> NullCalibration | None:
        """The baseline against its perturbed copy; None without three finished pairs."""
        metric, plain = self.study.metric, self.evidence.records[BASELINE]
        pairs = []
        for run in self.evidence.registration.extra_runs.get("null", ()):
            members = [plain.get(run.seed), self.evidence.extra_runs.get(run.digest)]
            if all(member is not None and member.status == "done" for member in members):
                pairs.append([member.metrics[metric.key] for member in members if member])
        if len(pairs) < FEWEST_NULL_PAIRS:
            return None
        baseline, perturbed = zip(*pairs, strict=True)
        return calibrate_null(baseline, perturbed, self.evidence.registration.rule, metric.unit)

    @property
    def progress(self) -> list[dict[str, Any]]:
        """A row per treatment and contrast: its pairs so far, mean, interval, and its verdict once it has one."""
        rows = []
        for name, comparison in self.comparisons.items():
            verdict = self.verdicts.get(name)
            rows.append(
                {
                    "treatment": name,
                    "primary": comparison.primary,
                    "pairs": comparison.n_pairs,
                    "mean": comparison.mean,
                    "interval": comparison.interval,
                    "verdict": verdict.kind if verdict else None,
                    **({"contrast": True} if comparison.contrast else {}),
                }
            )
        return rows

    @cached_property
    def report(self) -> Report:
        """Everything that is said of the study."""
        registration, study, records = self.evidence.registration, self.study, self.records
        rows = {
            name: Row(c, self._verdict_as_it_stands(name), describe_difference(c), name in study.null)
            for name, c in self.comparisons.items()
        }
        seeds = {arm: max((c.seeds for c in self.comparisons.values() if arm in c.arms), key=len) for arm in records}
        every = [record for of_arm in records.values() for record in of_arm.values()]
        return Report(
            name=registration.name,
            question=study.question,
            attempt=registration.attempt,
            is_complete=self.is_complete,
            method=describe_method(registration.rule, self._sharing),
            study=study,
            registration_digest=registration.digest,
            data=registration.data,
            evaluation_digest=registration.evaluation_digest,
            device=registration.device,
            packages=next((record.pairing["packages"] for record in every if record.pairing), {}),
            treatments={name: row for name, row in rows.items() if not row.comparison.contrast},
            contrasts={name: row for name, row in rows.items() if row.comparison.contrast},
            failed_runs=tuple(
                FailedRun(arm, seed, record.error)
                for arm, of_arm in records.items()
                for seed, record in of_arm.items()
                if record.status == "failed"
            ),
            findings=self.evidence.findings,
            arms={name: summarize_arm([records[name][seed] for seed in seeds[name]]) for name in records},
            extra_runs=self.extra_runs,
            null=self.null,
            tuning=registration.tuning,
            times=self.evidence.times,
        )

    def _verdict_as_it_stands(self, name: str) -> Verdict | None:
        comparison = self.comparisons[name]
        if not comparison.primary:
            return None
        return self.verdicts[name] or suspend(comparison, self.evidence.findings, "not finished")

    @property
    def _sharing(self) -> str:
        """What shares the error rate."""
        kinds = {"primary treatments": self.study.primary, "contrasts": self.study.contrasts}
        return " and ".join(kind for kind, names in kinds.items() if names)


def decide_all(evidence: Evidence, earlier: Judged | None = None) -> Judged:
    """The verdict on every primary treatment and contrast, from the pairs and the findings alone.

    ``earlier`` judged the same study before: where a comparison and the findings are still the same, so is its verdict.
    """
    same = earlier is not None and earlier.evidence.findings == evidence.findings
    verdicts: dict[str, Verdict | None] = {}
    for name, comparison in evidence.comparisons.items():
        if not comparison.primary:
            continue
        if earlier and same and earlier.comparisons[name] is comparison:
            verdicts[name] = earlier.verdicts[name]
        else:
            verdicts[name] = decide(comparison, evidence.findings)
    return Judged(evidence, verdicts)
