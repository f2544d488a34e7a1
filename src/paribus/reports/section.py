"""A part of the page that is there only where there is something to show."""

from __future__ import annotations

from dataclasses import dataclass

from paribus.reports.pictures import Picture
from paribus.reports.tables import Table


@dataclass(frozen=True)
class Section:
    """A part of the page that is there only where such runs were made."""

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...] = ()
