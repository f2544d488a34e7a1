"""Two runs on one seed, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from paribus.design.contrasts import Contrast
from paribus.design.metrics import VAL_LOSS, Metric
from paribus.errors import JudgementError
from paribus.store.records import Record


@dataclass(frozen=True)
class Pair:
    """The two runs of one seed, or the two sides of a contrast.

    Args:
        seed: shared by both runs.
        baseline, treatment: the metric's value; None where the run diverged before it had one.
        baseline_status, treatment_status: "done" or "diverged".
        baseline_documents, treatment_documents: mean loss per evaluation document, in equal order; None without.
        weights: token counts of those documents.
        diverged: of a contrast the arms without a finite value.

    Raises JudgementError for another status: a run that failed is not a result, and its pair is missing.
    """

    seed: int
    baseline: float | None
    treatment: float | None
    baseline_status: str = "done"
    treatment_status: str = "done"
    baseline_documents: np.ndarray | None = field(default=None, compare=False, repr=False)
    treatment_documents: np.ndarray | None = field(default=None, compare=False, repr=False)
    weights: np.ndarray | None = field(default=None, compare=False, repr=False)
    diverged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for arm in ("baseline", "treatment"):
            status = getattr(self, f"{arm}_status")
            if status not in ("done", "diverged"):
                raise JudgementError(f"the {arm}'s run of seed {self.seed} is {status!r}: the pair is missing")

    @classmethod
    def of_records(cls, baseline: Record, treatment: Record, metric: Metric) -> Pair:
        """The pair of two finished records. Per-document losses are taken along for ``VAL_LOSS`` alone.

        Raises JudgementError for two seeds, a metric that a finished run lacks, or unlike evaluation documents.
        """
        if baseline.seed != treatment.seed:
            raise JudgementError(f"a pair shares its seed; got {baseline.seed} and {treatment.seed}")
        for arm, record in (("baseline", baseline), ("treatment", treatment)):
            if record.status == "done" and metric.key not in record.metrics:
                raise JudgementError(f"the {arm}'s run of seed {record.seed} has no metric {metric.key!r}")
        documents: dict[str, Any] = {}
        if metric.key == VAL_LOSS.key and baseline.documents and treatment.documents:
            tokens = np.asarray(baseline.documents["tokens"], dtype=float)
            if list(baseline.documents["tokens"]) != list(treatment.documents["tokens"]):
                raise JudgementError(f"the runs of seed {baseline.seed} were scored on different evaluation documents")
            documents = {
                "baseline_documents": np.asarray(baseline.documents["loss"], dtype=float) / tokens,
                "treatment_documents": np.asarray(treatment.documents["loss"], dtype=float) / tokens,
                "weights": tokens,
            }
        return cls(
            baseline.seed,
            baseline.metrics.get(metric.key),
            treatment.metrics.get(metric.key),
            baseline.status,
            treatment.status,
            **documents,
        )

    @classmethod
    def of_contrast(cls, records: Mapping[str, Record], contrast: Contrast, metric: Metric) -> Pair:
        """One seed of a contrast: ``treatment`` sums the arms of positive weight, ``baseline`` the others.

        Each side is the first arm's value plus |weight| times what every arm differs from it: where arms are equal
        to the bit the difference is 0 to the bit, whatever the weights round to. Raises as ``of_records`` does.
        """
        arms = {arm: records[arm] for arm in contrast.weights}
        first = next(iter(arms.values()))
        pairs = {arm: cls.of_records(first, record, metric) for arm, record in arms.items()}
        diverged = tuple(arm for arm, pair in pairs.items() if pair.treatment_diverged)
        values = {arm: float(pair.treatment) for arm, pair in pairs.items() if is_finite(pair.treatment)}
        origin = next((value for arm, value in values.items() if arm not in diverged), math.nan)
        sides: dict[str, Any] = {}
        for side, sign in (("baseline", -1), ("treatment", 1)):
            shares = {arm: sign * weight for arm, weight in contrast.weights.items() if sign * weight > 0}
            broken = any(arm in diverged for arm in shares)
            sides[f"{side}_status"] = "diverged" if broken else "done"
            moved = None if broken else math.fsum(w * (values[arm] - origin) for arm, w in shares.items())
            sides[side] = None if moved is None else origin + moved
            if not diverged and all(pair.weights is not None for pair in pairs.values()):
                documents = {arm: np.asarray(pair.treatment_documents) for arm, pair in pairs.items()}
                start = next(iter(documents.values()))
                parts = [weight * (documents[arm] - start) for arm, weight in shares.items()]
                sides |= {
                    f"{side}_documents": start + np.sum(parts, axis=0),
                    "weights": pairs[next(iter(arms))].weights,
                }
        return cls(first.seed, **sides, diverged=diverged)

    @property
    def baseline_diverged(self) -> bool:
        """The baseline's run diverged or its value is not finite."""
        return self.baseline_status == "diverged" or not is_finite(self.baseline)

    @property
    def treatment_diverged(self) -> bool:
        """The treatment's run diverged or its value is not finite."""
        return self.treatment_status == "diverged" or not is_finite(self.treatment)

    @property
    def difference(self) -> float:
        """Treatment minus baseline; NaN where either diverged."""
        if not (is_finite(self.baseline) and is_finite(self.treatment)):
            return math.nan
        if self.baseline_diverged or self.treatment_diverged:
            return math.nan
        return float(self.treatment) - float(self.baseline)


def orient(metric: Metric) -> float:
    return 1.0 if metric.better == "lower" else -1.0


def is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def plain_number(value: float | None) -> float | None:
    return float(value) if is_finite(value) else None
