"""Run the built-in studies at their quick scale, and `norm` in its two other backbones, as a user would.

    python benchmarks/studies.py [NAME ...]

A name is that of a study, norm-hypermixer or norm-hrm. Each runs in a fresh store. Its report goes to
results/NAME/report.json, the seconds from the command to its end to benchmarks/results/studies.json and to the table
in docs/quick_scale.md. `make pages` then writes the pages.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from paribus.design.study_files import built_in_studies

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "studies.json"
PAGE = ROOT / "docs" / "quick_scale.md"
BEGIN, END = "<!-- table: benchmarks/studies.py writes it -->\n", "<!-- end of studies -->"
OTHER_SCALES = {"norm-hypermixer": ("norm", "hypermixer"), "norm-hrm": ("norm", "hrm")}
"""Runs at another scale of the quick scale's size: name to study and scale."""


def main() -> None:
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    for name in sys.argv[1:] or [*built_in_studies(), *OTHER_SCALES]:
        known[name] = run(name)
        print(name, known[name], flush=True)
        machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__}
        RESULTS.write_text(json.dumps({"date": str(date.today()), **machine, "rows": known}, indent=1) + "\n")
    write_table()


def run(name: str) -> dict[str, float]:
    """Run one study at one scale and keep its report."""
    with tempfile.TemporaryDirectory() as store:
        began = time.monotonic()
        command = [sys.executable, "-m", "paribus", "run", *words(name), "--store", store]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        report = Path(store) / "studies" / name / "report.json"
        kept = ROOT / "results" / name / "report.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report, kept)
    judged = json.loads(kept.read_text())
    pairs = max(row["comparison"]["n_pairs"] for row in judged["treatments"].values())
    return {"arms": len(judged["arms"]), "pairs": pairs, "seconds": round(seconds)}


def words(name: str) -> list[str]:
    """What follows ``paribus run``."""
    study, scale = OTHER_SCALES.get(name, (name, ""))
    return [study, "--scale", scale] if scale else [study]


def write_table() -> None:
    """Put the stored rows into the documentation page."""
    stored = json.loads(RESULTS.read_text())
    lines = ["| study | arms | pairs | seconds |", "|---|---:|---:|---:|"]
    for name, row in sorted(stored["rows"].items()):
        lines.append(f"| `{' '.join(words(name))}` | {row['arms']} | {row['pairs']} | {row['seconds']} |")
    lines.append(f"\n{stored['date']}, {stored['machine']}, torch {stored['torch']}; corpus prepared before.\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
