"""What there is to name: studies and parts, those of paribus and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from paribus.design.study_files import built_in_studies, offered_studies, read_study
from paribus.design.wording import suggest
from paribus.errors import StudyError


def list_studies() -> list[dict[str, Any]]:
    """Name, question, scales and package of every study that is built in or offered by a package.

    ``error`` says what is wrong with a plug-in; its question is then empty. Imports the studies.
    """
    return [*(_describe(name) for name in built_in_studies()), *_offered()]


def list_parts(slot: str | None = None) -> list[dict[str, Any]]:
    """Name, slot, formula, source, parity, module and package of every part of paribus, and of installed packages.

    ``error`` says what is wrong with a plug-in, which stands in every list. Raises StudyError for an unknown slot.
    """
    from paribus.nn import discover_parts, offered_parts

    parts, faults = offered_parts()
    rows = [{**asdict(part), "error": None} for part in (*discover_parts(), *parts)]
    slots = sorted({row["slot"] for row in rows})
    if slot is not None and slot not in slots:
        raise StudyError(f"no slot {slot!r}; {suggest(slot, slots)}")
    empty = dict.fromkeys(("slot", "formula", "source", "parity"), "")
    wrong = [
        {"name": f.offer.name, **empty, "module": f.offer.module, "package": f.offer.package, "error": str(f)}
        for f in faults
    ]
    return [*(row for row in rows if slot in (None, row["slot"])), *wrong]


def _offered() -> Iterator[dict[str, Any]]:
    offers, faults = offered_studies()
    for name, offer in offers.items():
        try:
            yield _describe(name)
        except StudyError as error:
            yield _wrong(name, offer.package, str(error).splitlines()[0])
    for fault in faults:
        yield _wrong(fault.offer.name, fault.offer.package, str(fault))


def _describe(name: str) -> dict[str, Any]:
    found = read_study(name)
    return {
        "name": name,
        "question": found.choose().question,
        "scales": list(found.scales),
        "package": found.package or "paribus",
        "error": None,
    }


def _wrong(name: str, package: str, error: str) -> dict[str, Any]:
    return {"name": name, "question": "", "scales": [], "package": package, "error": error}
