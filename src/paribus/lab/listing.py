"""What there is to name: studies and parts, those of paribus and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from paribus.design.study_files import built_in_studies, offered_studies, read_study
from paribus.design.wording import suggest
from paribus.errors import StudyError


@dataclass(frozen=True)
class ListedStudy:
    """A study that can be named; ``error`` is what is wrong with a plug-in, whose question is then empty."""

    name: str
    question: str
    scales: list[str]
    package: str
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ListedPart:
    """A part that a spec can name; ``error`` is what is wrong with a plug-in, whose other fields are then empty."""

    name: str
    slot: str
    formula: str
    source: str
    parity: str
    module: str
    package: str
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_studies() -> list[ListedStudy]:
    """Every study that is built in or offered by an installed package, broken plug-ins too. Imports the studies."""
    return [*(_describe(name) for name in built_in_studies()), *_offered()]


def list_parts(slot: str | None = None) -> list[ListedPart]:
    """Every part of paribus and of installed packages, or those of ``slot``; broken plug-ins are in every list.

    Raises StudyError for an unknown slot.
    """
    from paribus.nn import discover_parts, offered_parts

    parts, faults = offered_parts()
    rows = [ListedPart(**asdict(part)) for part in (*discover_parts(), *parts)]
    slots = sorted({row.slot for row in rows})
    if slot is not None and slot not in slots:
        raise StudyError(f"no slot {slot!r}; {suggest(slot, slots)}")
    wrong = [ListedPart(f.offer.name, "", "", "", "", f.offer.module, f.offer.package, str(f)) for f in faults]
    return [*(row for row in rows if slot in (None, row.slot)), *wrong]


def _offered() -> Iterator[ListedStudy]:
    offers, faults = offered_studies()
    for name, offer in offers.items():
        try:
            yield _describe(name)
        except StudyError as error:
            yield ListedStudy(name, "", [], offer.package, str(error).splitlines()[0])
    for fault in faults:
        yield ListedStudy(fault.offer.name, "", [], fault.offer.package, str(fault))


def _describe(name: str) -> ListedStudy:
    found = read_study(name)
    return ListedStudy(name, found.choose().question, list(found.scales), found.package or "paribus")
