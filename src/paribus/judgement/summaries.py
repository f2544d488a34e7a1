"""What the runs of one arm say together: means, spreads and curves over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paribus.store.records import Record, loss_curve


def summarize_arm(records: Sequence[Record]) -> dict[str, Any]:
    """Metrics and loss curves of an arm's finished runs, in the order of their seeds.

    ``metrics`` and ``measured`` map a name to ``values`` (one per seed, null where a run has none), ``mean`` and
    ``sd`` (ddof 1; null below two values) over those there are. ``curve`` holds the evaluations' ``steps`` and
    ``tokens``, ``loss`` per seed, ``mean``, ``low`` and ``high`` over seeds, and ``is_apart``, whether the final loss
    was scored apart from it, on more tokens or other weights; ``measured.curve_seconds`` the mean
    training seconds at each of them.
    """
    done = [record for record in records if record.status == "done"]
    measured = _table([{**record.measured, **_speed(record)} for record in done])
    clocks = [[e["measured"]["training_seconds"] for e in loss_curve(record.evaluations)] for record in done]
    measured["device_name"] = ", ".join(sorted({str(record.measured.get("device_name", "")) for record in done}))
    measured["curve_seconds"] = np.mean(clocks, axis=0).tolist() if clocks else []
    return {
        "seeds": [record.seed for record in records],
        "status": [record.status for record in records],
        "diverged": sum(record.status == "diverged" for record in records),
        "metrics": _table([record.metrics for record in done]),
        "curve": _curve(done),
        "measured": measured,
    }


def _speed(record: Record) -> dict[str, float]:
    """Arithmetic per second of training: of a device's peak, the model FLOPs utilization."""
    tokens, flops = record.measured.get("tokens_per_second"), record.metrics.get("training_flops_per_token")
    return {} if tokens is None or flops is None else {"training_flops_per_second": tokens * flops}


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [name for name, value in (rows[0] if rows else {}).items() if isinstance(value, int | float | None)]
    table = {}
    for name in names:
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        table[name] = {
            "values": values,
            "mean": float(np.mean(known)) if known else None,
            "sd": _spread(known) if len(known) > 1 else None,
        }
    return table


def _spread(values: Sequence[float]) -> float:
    """The standard deviation (ddof 1); 0 of equal values, whose computed mean may be another number."""
    return float(np.std(values, ddof=1)) if min(values) < max(values) else 0.0


def _curve(records: Sequence[Record]) -> dict[str, Any]:
    if not records:
        return {"steps": [], "tokens": [], "loss": [], "mean": [], "low": [], "high": [], "is_apart": False}
    losses = np.array([[e["loss"] for e in loss_curve(record.evaluations)] for record in records])
    return {
        "steps": [e["step"] for e in loss_curve(records[0].evaluations)],
        "tokens": [e["tokens"] for e in loss_curve(records[0].evaluations)],
        "loss": losses.tolist(),
        "mean": losses.mean(0).tolist(),
        "low": losses.min(0).tolist(),
        "high": losses.max(0).tolist(),
        "is_apart": len(losses[0]) < len(records[0].evaluations),
    }
