"""The sections of the page, in order. A new one is a function in a file of its own, and a line in ``SECTIONS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paribus.judgement import Report
from paribus.reports.extra_runs_section import compose_null, compose_rates, compose_tuning, compose_widths
from paribus.reports.section import Section

SECTIONS: tuple[Callable[[Report, Sequence[str]], Section | None], ...] = (
    compose_tuning,
    compose_rates,
    compose_widths,
    compose_null,
)
"""Each takes the report and its arms in the order of the page, and gives None where it has nothing to show."""


def compose_sections(report: Report, arms: Sequence[str]) -> tuple[Section, ...]:
    """The sections that have something to show."""
    composed = (compose(report, arms) for compose in SECTIONS)
    return tuple(section for section in composed if section)
