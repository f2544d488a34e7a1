"""An examination on one screen of 80 columns."""

from __future__ import annotations

import textwrap

from paribus.ideas.examination import Examination
from paribus.nn.checks import Check

_WIDTH = 79


def examination_text(examination: Examination) -> str:
    """What the class is, and every check with its numbers; what failed stands out."""
    name, checks = examination.idea.name, examination.checks
    what = examination.slot or examination.idea.kind
    lines = [*textwrap.wrap(f"{name} {examination.why}: {what}.", _WIDTH)]
    if examination.others:
        others = ", ".join(examination.others)
        lines += textwrap.wrap(f"It also runs as {others}; --slot chooses another.", _WIDTH)
    lines.append("")
    for check in checks:
        lines += _check_lines(check)
    return "\n".join([*lines, "", summary_text(examination)])


def summary_text(examination: Examination) -> str:
    """How many checks it passes, in one line."""
    n, failed = len(examination.checks), len(examination.failed)
    what = examination.slot or examination.idea.kind
    return f"{examination.idea.name} as {what}: {n - failed} of {n} checks passed"


def failures_text(examination: Examination) -> list[str]:
    """A line or two per check that failed."""
    return [line for check in examination.failed for line in _check_lines(check)]


def _check_lines(check: Check) -> list[str]:
    head = f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: "
    return textwrap.wrap(head + check.detail, _WIDTH, subsequent_indent=" " * 6)
