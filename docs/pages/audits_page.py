"""docs/audits.md with the rows of its two tables written anew from ``paribus.audits.CHECKS``; its prose stays."""

from __future__ import annotations

import re
from pathlib import Path

from paribus.audits import CHECKS

HEADER = "| check | what it sees | what it cannot see | severity | cost of an arm |\n| --- | --- | --- | --- | --- |\n"


def compose_audits(page: Path) -> dict[str, bytes]:
    """The page by its path in the repository. Raises ValueError where it has not the two tables."""
    before, *rest = re.split(re.escape(HEADER) + r"(?:\|.*\n)*", page.read_text())
    if len(rest) != 2:
        raise ValueError(f"{page} has {len(rest)} tables of checks, expected 2: before and after training")
    parts = [before]
    for when, prose in zip(("before", "after"), rest, strict=True):
        rows = [
            f"| {check.name} | {check.sees} | {check.misses} | {', '.join(check.severities)} | {check.cost} |\n"
            for check in CHECKS
            if check.when == when
        ]
        parts += [HEADER, *rows, prose]
    return {"docs/audits.md": "".join(parts).encode()}
