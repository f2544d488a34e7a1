"""What differs between two arms as they were registered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import attrs

from paribus.design.recipe import Training
from paribus.design.spec_names import SpecName
from paribus.design.trees import differences, group_changes
from paribus.judgement.registration import RegisteredArm


@dataclass(frozen=True)
class Edit:
    """One edit and the sites where it was made, numbers of equal paths run together: ``blocks.0-2.mlp_norm``."""

    places: tuple[str, ...]
    n_sites: int
    before: str
    after: str


def list_edits(before: RegisteredArm, after: RegisteredArm) -> tuple[Edit, ...]:
    """The edits between two arms, paths of the recipe under ``training.``."""
    changes = list(differences(before.model, after.model))
    for field in sorted(attrs.fields_dict(Training)):
        one, other = getattr(before.training, field), getattr(after.training, field)
        changes += differences(one, other, f"training.{field}")
    groups = group_changes(changes, describe_value)
    return tuple(Edit(_run_together(paths), len(paths), *values) for values, paths in groups.items())


def describe_value(value: Any) -> str:
    """A value of a spec in words: ``MuonAdamW(adamw_lr=0.01, lr=0.02)``, ``none``, ``(4 x PreNorm(norm=RMSNorm))``."""
    if isinstance(value, SpecName):
        inner = ", ".join(f"{name}={describe_value(item)}" for name, item in value.arguments)
        words = f"{value.short_name}({inner})" if inner else value.short_name
        return f"initialized({words})" if value.initialized else words
    if isinstance(value, tuple):
        return f"({', '.join(_describe_items(value))})"
    return "none" if value is None else str(getattr(value, "__name__", value))


def _describe_items(items: Sequence[Any]) -> Iterator[str]:
    """Equal specs in a row once with their number; of other values each is short."""
    for item, equals in groupby(items):
        words, n = describe_value(item), len(list(equals))
        yield from [f"{n} x {words}"] if n > 1 and isinstance(item, SpecName) else [words] * n


def _run_together(paths: list[str]) -> tuple[str, ...]:
    """``blocks.0.norm, blocks.1.norm`` becomes ``blocks.0-1.norm``: paths that are equal but for their first number."""
    families: dict[str, list[int]] = {}
    for path in paths:
        number = re.search(r"(?<=\.)\d+(?=\.|$)", path)
        key = f"{path[: number.start()]}\0{path[number.end() :]}" if number else path
        families.setdefault(key, []).append(int(number.group()) if number else -1)
    return tuple(key.replace("\0", _write_numbers(numbers)) for key, numbers in families.items())


def _write_numbers(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
