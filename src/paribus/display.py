"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

Observe = Any

VERDICT_STYLE = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow", "invalid": "bold red"}


@contextmanager
def progress() -> Iterator[Observe]:
    """Yield a function that takes the events of ``lab.run`` and shows them on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainLines(console).observe
        return
    table = LiveTable()
    with Live(console=console, get_renderable=table.render, refresh_per_second=4, transient=True):
        yield table.observe


class PlainLines:
    """One line per thing that happened, for logs and pipes."""

    def __init__(self, console: Console):
        self.console = console
        self.said: dict[str, str] = {}

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self._print(event["text"])
        elif kind in ("started", "finished", "stopped"):
            status = event.get("status", "")
            self._print(f"{event['arm']} seed {event['seed']}: {kind if status in ('', 'done') else status}")
        elif kind == "judged":
            for row in event["rows"]:
                line = f"{row['treatment']}: {_progress_text(row)}"
                if self.said.get(row["treatment"]) != line:
                    self.said[row["treatment"]] = line
                    self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveTable:
    """A line per running run and a line per treatment."""

    def __init__(self):
        self.running: dict[str, dict[str, Any]] = {}
        self.rows: list[Mapping[str, Any]] = []
        self.message = ""

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self.message = event["text"]
        elif kind == "started":
            self.running[event["digest"]] = {**event, "began": time.monotonic(), "first": None}
        elif kind == "progress":
            run = self.running[event["digest"]]
            run["line"] = event["line"]
            run["first"] = run["first"] or (event["line"]["step"], time.monotonic())
        elif kind in ("finished", "stopped"):
            self.running.pop(event["digest"], None)
        elif kind == "judged":
            self.rows = event["rows"]

    def render(self) -> Group:
        runs = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name, justify in (("run", "left"), ("step", "right"), ("loss", "right"), ("tokens/s", "right"), ("left", "right")):
            runs.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")
        for run in self.running.values():
            runs.add_row(*_run_cells(run))
        verdicts = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("treatment", "pairs", "difference and interval", "verdict"):
            verdicts.add_column(name, no_wrap=True, overflow="ellipsis", justify="right" if name == "pairs" else "left")
        for row in self.rows:
            kind = row["verdict"] or ("" if row["primary"] else "descriptive")
            style = VERDICT_STYLE.get(kind, "dim")
            verdicts.add_row(row["treatment"], str(row["pairs"]), _difference_text(row), Text(kind or "...", style=style))
        return Group(Text(self.message, style="dim", no_wrap=True, overflow="ellipsis"), runs, Text(""), verdicts)


def _run_cells(run: Mapping[str, Any]) -> list[str]:
    name = f"{run['arm']} / seed {run['seed']}"
    line = run.get("line")
    if line is None:
        return [name, f"0/{run['steps']}", "", "", ""]
    left = ""
    first_step, began = run["first"]
    if line["step"] > first_step:
        seconds = (time.monotonic() - began) / (line["step"] - first_step) * (run["steps"] - line["step"])
        left = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    rate = line["measured"]["tokens_per_second"]
    return [name, f"{line['step']}/{run['steps']}", f"{line['loss']:.3f}", f"{rate:,.0f}", left]


def _progress_text(row: Mapping[str, Any]) -> str:
    text = f"{row['pairs']} pairs, {_difference_text(row)}" if row["pairs"] != 1 else "1 pair"
    return f"{text} -> {row['verdict']}" if row["verdict"] else text


def _difference_text(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return ""
    if row["interval"] is None:
        return f"{row['mean']:+.4f}"
    low, high = row["interval"]
    return f"{row['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
