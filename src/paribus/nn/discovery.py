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
from paribus.design.plugins import PARTS, Fault, Offer, import_offered, list_offers
from paribus.design.wording import suggest

_START = r"(?:^|(?<=\. ))"  # a label starts a line, or stands after a sentence


@dataclass(frozen=True)
class Part:
    """A class that can stand in ``slot``, as plain text; formula, source and parity are those of its docstring.

    Args:
        parity: the public implementation that a test holds it equal to, "" where there is none.
        package: the installed package that it comes with.
    """

    name: str
    slot: str
    formula: str
    source: str
    parity: str
    module: str
    package: str = "paribus"

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


def offered_parts() -> tuple[tuple[Part, ...], tuple[Fault, ...]]:
    """The parts that installed packages offer, by slot and name, and what is wrong with the other offers.

    The entry point ``"norm.ScaleNorm" = "my_pkg.norms:ScaleNorm"`` names slot and class; its module is imported.
    """
    parts, faults = [], []
    for offer in list_offers(PARTS):
        found = _read_offer(offer)
        parts.append(found) if isinstance(found, Part) else faults.append(Fault(offer, found))
    return tuple(sorted(parts, key=lambda part: (part.slot, part.name))), tuple(faults)


def _read_offer(offer: Offer) -> Part | str:
    """The part, or what is wrong with it."""
    from paribus.nn.conformance.subjects import CHECKED_SLOTS

    slot, _, name = offer.name.partition(".")
    if slot not in CHECKED_SLOTS:
        hint = suggest(slot, CHECKED_SLOTS)
        return f"no slot {slot!r}; {hint} The name is the slot, a dot and the class's name, such as norm.ScaleNorm"
    if not name or name != offer.attribute:
        return f"the name is to be '{slot}.{offer.attribute or 'Class'}' and the value 'module:Class', of one class"
    try:
        cls = getattr(import_offered(offer), name, None)
    except ImportError as error:
        return str(error)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        return f"{offer.module} has no nn.Module called {name!r}"
    said = read_labels(cls)
    return Part(name, slot, said.formula, said.source, said.parity, offer.module, offer.package)


def read_labels(thing: Any) -> Labels:
    """The labels of a class's or a function's own docstring."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    return Labels(_cut(doc, r"\A"), _cut(doc, rf"{_START}Source: "), _cut(doc, rf"{_START}Parity: "))


def _cut(doc: str, start: str) -> str:
    """What follows ``start``, up to the next label or blank line."""
    end = rf"{_START}(?:Source|Differs|Parity|Args|Raises|Returns):|^\s*$|\Z"
    found = re.search(f"{start}(.*?)(?={end})", doc, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""
