"""Which parts there are: read from the package, so that a new class is found by being written."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass

from torch import nn

import paribus.nn


@dataclass(frozen=True)
class Part:
    """A class that can stand in ``slot``, as plain text; formula and source are those of its docstring."""

    name: str
    slot: str
    formula: str
    source: str
    module: str

    @property
    def cls(self) -> type[nn.Module]:
        return getattr(importlib.import_module(self.module), self.name)


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
                formula, source = _read(inspect.cleandoc(cls.__doc__ or ""))
                if source:
                    parts.append(Part(name, slot, formula, source, cls.__module__))
    return tuple(sorted(parts, key=lambda part: (part.slot, part.name)))


def _read(doc: str) -> tuple[str, str]:
    """The first paragraph, and what follows ``Source:`` up to the next label or blank line."""
    formula = doc.split("\n\n", 1)[0]
    source = re.search(r"^Source: (.*?)(?=^[A-Z]\w*:|^\s*$|\Z)", doc, re.MULTILINE | re.DOTALL)
    return " ".join(formula.split()), " ".join(source[1].split()) if source else ""
