"""Which parts there are: read from the package, so that a new class is found by being written."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from typing import Any

from torch import nn

import paribus.nn

_START = r"(?:^|(?<=\. ))"  # a label starts a line, or stands after a sentence


@dataclass(frozen=True)
class Part:
    """A class that can stand in ``slot``, as plain text; formula, source and parity are those of its docstring.

    Args:
        parity: the public implementation that a test holds it equal to, "" where there is none.
    """

    name: str
    slot: str
    formula: str
    source: str
    parity: str
    module: str

    @property
    def cls(self) -> type[nn.Module]:
        return getattr(importlib.import_module(self.module), self.name)


@dataclass(frozen=True)
class Labels:
    """What a docstring says, each on one line: its first paragraph, ``Source:`` and ``Parity:``; "" where absent."""

    formula: str
    source: str
    parity: str


def discover_parts() -> tuple[Part, ...]:
    """Every part of the package, by slot and name.

    A part is a public ``nn.Module`` with a ``Source:`` in its docstring, in a module that says ``SLOT``.
    """
    parts = []
    for module_info in pkgutil.iter_modules(paribus.nn.__path__):
        module = importlib.import_module(f"{paribus.nn.__name__}.{module_info.name}")
        slot = getattr(module, "SLOT", None)
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if slot and cls.__module__ == module.__name__ and issubclass(cls, nn.Module) and not name.startswith("_"):
                said = read_labels(cls)
                if said.source:
                    parts.append(Part(name, slot, said.formula, said.source, said.parity, cls.__module__))
    return tuple(sorted(parts, key=lambda part: (part.slot, part.name)))


def read_labels(thing: Any) -> Labels:
    """The labels of a class's or a function's own docstring."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    return Labels(_cut(doc, r"\A"), _cut(doc, rf"{_START}Source: "), _cut(doc, rf"{_START}Parity: "))


def _cut(doc: str, start: str) -> str:
    """What follows ``start``, up to the next label or blank line."""
    end = rf"{_START}(?:Source|Differs|Parity|Args|Raises|Returns):|^\s*$|\Z"
    found = re.search(f"{start}(.*?)(?={end})", doc, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""
