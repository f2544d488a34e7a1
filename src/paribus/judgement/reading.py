"""Comparisons read back from their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from paribus.contrasts import Contrast
from paribus.judgement.comparison import Comparison, Pair
from paribus.judgement.planning import Outlook
from paribus.judgement.rules import Rule
from paribus.metrics import Metric

_LEVELS = ("a_sign", "a_equiv")  # a rule's JSON tells them, and they follow from its fields


def read_comparison(data: Mapping[str, Any]) -> Comparison:
    """The comparison that ``Comparison.to_json`` wrote, without the losses of single documents."""
    columns = ("seeds", "baseline", "values", "baseline_status", "treatment_status")
    rows = zip(*(data[name] for name in columns), strict=True)
    diverged = data.get("diverged") or [()] * len(data["seeds"])
    given: dict[str, Any] = {
        **{f.name: data[f.name] for f in fields(Comparison) if f.name in data},
        "metric": Metric(**data["metric"]),
        "rule": Rule(**{name: value for name, value in data["rule"].items() if name not in _LEVELS}),
        "pairs": tuple(
            Pair(seed, baseline, treatment, before, after, diverged=tuple(arms))
            for (seed, baseline, treatment, before, after), arms in zip(rows, diverged, strict=True)
        ),
        "outlook": Outlook(**data["outlook"]) if data["outlook"] else None,
        "contrast": Contrast.from_json(data["contrast"]) if data.get("contrast") else None,
    }
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Comparison(**given)
