"""An examination on one screen of 80 columns."""

from __future__ import annotations

import textwrap

from paribus.ideas.examination import Examination
from paribus.nn.checks import Check

_WIDTH = 79


def examination_text(examination: Examination, passed: bool = True) -> str:
    """What the class is, and every check with its numbers, or those alone that failed."""
    what = examination.slot or examination.idea.kind
    lines = textwrap.wrap(f"{examination.idea.name} {examination.why}: {what}.", _WIDTH)
    if examination.others:
        others = ", ".join(examination.others)
        lines += textwrap.wrap(f"It also runs as {others}; --slot chooses another.", _WIDTH)
    checks = [line for check in examination.checks if passed or not check.passed for line in _check_lines(check)]
    lines += ["", *checks, ""] if checks else []
    n, failed = len(examination.checks), len(examination.failed)
    return "\n".join([*lines, f"{examination.idea.name} as {what}: {n - failed} of {n} checks passed"])


def _check_lines(check: Check) -> list[str]:
    head = f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: "
    return textwrap.wrap(head + check.detail, _WIDTH, subsequent_indent=" " * 6)
