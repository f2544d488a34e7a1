"""What every benchmark says about itself: where it ran and when, its numbers as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe_machine(*packages: str) -> dict[str, Any]:
    """Processor, cores, date, and the versions of Python, torch and the installed ones of ``packages``."""
    found = {"python": platform.python_version()}
    for name in ("torch", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"date": str(date.today()), "machine": _processor(), "cores": os.cpu_count(), "versions": found}


def save(name: str, content: dict[str, Any]) -> None:
    """Write ``benchmarks/results/<name>.json``."""
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The first column flush left, all others flush right."""
    cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for row in cells:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip())


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[:1]) or platform.processor() or platform.machine()
