"""What the runs of one arm say together: means, spreads and curves over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paribus.store.records import Record, loss_curve


@dataclass(frozen=True)
class Summary:
    """A number of an arm: its ``values``, one per finished run (None where a run has none), over those there are.

    Args:
        mean: None without a value.
        sd: ddof 1; None below two values.
    """

    values: tuple[float | None, ...] = ()
    mean: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Curve:
    """The loss on the held-out tokens of the curve, at every evaluation.

    Args:
        loss: per seed.
        mean, low, high: over seeds.
        is_apart: whether the final loss was scored apart from it, on more tokens or other weights.
    """

    steps: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    loss: tuple[tuple[float, ...], ...] = ()
    mean: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    is_apart: bool = False


@dataclass(frozen=True)
class ArmSummary:
    """The finished runs of an arm, in the order of their seeds.

    Args:
        status: "done" or "diverged", run by run.
        metrics: of the runs that are done.
        measured: what a clock or a memory counter said of them.
        curve_seconds: mean training seconds at every evaluation of the curve.
    """

    seeds: tuple[int, ...] = ()
    status: tuple[str, ...] = ()
    metrics: Mapping[str, Summary] = field(default_factory=dict)
    curve: Curve = Curve()
    measured: Mapping[str, Summary] = field(default_factory=dict)
    device_name: str = ""
    curve_seconds: tuple[float, ...] = ()

    @property
    def n_diverged(self) -> int:
        return self.status.count("diverged")

    def mean(self, metric: str) -> float | None:
        """The mean of a metric; None where the arm has none."""
        return self.metrics.get(metric, Summary()).mean


def summarize_arm(records: Sequence[Record]) -> ArmSummary:
    """The summary of an arm's finished runs, given in the order of their seeds."""
    done = [record for record in records if record.status == "done"]
    clocks = [[e["measured"]["training_seconds"] for e in loss_curve(record.evaluations)] for record in done]
    return ArmSummary(
        seeds=tuple(record.seed for record in records),
        status=tuple(record.status for record in records),
        metrics=_summarize([record.metrics for record in done]),
        curve=_curve(done),
        measured=_summarize([{**record.measured, **_speed(record)} for record in done]),
        device_name=", ".join(sorted({str(record.measured.get("device_name", "")) for record in done})),
        curve_seconds=tuple(np.mean(clocks, axis=0).tolist()) if clocks else (),
    )


def _speed(record: Record) -> dict[str, float]:
    """Arithmetic per second of training: of a device's peak, the model FLOPs utilization."""
    tokens, flops = record.measured.get("tokens_per_second"), record.metrics.get("training_flops_per_token")
    return {} if tokens is None or flops is None else {"training_flops_per_second": tokens * flops}


def _summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Summary]:
    names = [name for name, value in (rows[0] if rows else {}).items() if isinstance(value, int | float | None)]
    table = {}
    for name in names:
        values = tuple(row.get(name) for row in rows)
        known = [value for value in values if value is not None]
        mean = float(np.mean(known)) if known else None
        table[name] = Summary(values, mean, _spread(known) if len(known) > 1 else None)
    return table


def _spread(values: Sequence[float]) -> float:
    """The standard deviation (ddof 1); 0 of equal values, whose computed mean may be another number."""
    return float(np.std(values, ddof=1)) if min(values) < max(values) else 0.0


def _curve(records: Sequence[Record]) -> Curve:
    if not records:
        return Curve()
    losses = np.array([[e["loss"] for e in loss_curve(record.evaluations)] for record in records])
    return Curve(
        steps=tuple(e["step"] for e in loss_curve(records[0].evaluations)),
        tokens=tuple(e["tokens"] for e in loss_curve(records[0].evaluations)),
        loss=tuple(map(tuple, losses.tolist())),
        mean=tuple(losses.mean(0).tolist()),
        low=tuple(losses.min(0).tolist()),
        high=tuple(losses.max(0).tolist()),
        is_apart=len(losses[0]) < len(records[0].evaluations),
    )
