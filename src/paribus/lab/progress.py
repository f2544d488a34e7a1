"""What happens while a study runs: a live table at a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from paribus.store.events import Observe

TERMINAL_WIDTH = 79

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
        self.printed: dict[str, str] = {}

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self._print(event["text"])
        elif kind in ("started", "finished", "stopped"):
            status = event.get("status", "")
            self._print(f"{event['arm']} seed {event['seed']}: {kind if status in ('', 'done') else status}")
        elif kind == "timing":
            self._print(_timing_text(event))
        elif kind == "judged":
            for row in event["rows"]:
                line = f"{row['treatment']}: {progress_text(row)}"
                if self.printed.get(row["treatment"]) != line:
                    self.printed[row["treatment"]] = line
                    self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveTable:
    """A line per running run and a line per treatment."""

    def __init__(self):
        self.running: dict[str, dict[str, Any]] = {}
        self.rows: list[Mapping[str, Any]] = []
        self.messages: list[str] = []  # the question, then what is being done

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self.messages.append(event["text"])
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
        elif kind == "timing":
            self.messages.append(_timing_text(event))

    def render(self) -> Group:
        runs = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        runs.add_column("run", no_wrap=True, overflow="ellipsis")
        for name in ("step", "loss", "tokens/s", "left"):
            runs.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
        for run in list(self.running.values()):  # the other thread adds and removes
            runs.add_row(*map(Text, run_cells(run)))
        verdicts = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        # The name gives way: a number cut short says something else. 80 columns hold the rest.
        verdicts.add_column("treatment", no_wrap=True, overflow="ellipsis", max_width=27)
        verdicts.add_column("pairs", justify="right")
        verdicts.add_column("difference and interval", no_wrap=True)
        verdicts.add_column("verdict", no_wrap=True)
        for row in self.rows:
            kind = row["verdict"] or ("" if row["primary"] else "descriptive")
            style = VERDICT_STYLE.get(kind, "dim")
            verdicts.add_row(
                Text(row["treatment"]), str(row["pairs"]), Text(difference_text(row)), Text(kind or "...", style=style)
            )
        shown = list(dict.fromkeys([*self.messages[:1], *self.messages[-1:]]))
        titles = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in shown]
        return Group(*titles, runs, Text(""), verdicts)


def run_cells(run: Mapping[str, Any]) -> list[str]:
    """A running run: its name, step, loss, tokens per second and time left."""
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


def _timing_text(event: Mapping[str, Any]) -> str:
    rejected = sum(event["rejected"].values())
    kinds = "; ".join(f"{name}: {kind}" for name, kind in event["treatments"].items())
    return f"timing round {event['rounds']} ({rejected} measured again). {kinds}"


def progress_text(row: Mapping[str, Any]) -> str:
    thing = "seed" if row.get("contrast") else "pair"
    pairs = f"1 {thing}" if row["pairs"] == 1 else f"{row['pairs']} {thing}s"
    text = ", ".join(filter(None, [pairs, difference_text(row)]))
    return f"{text} -> {row['verdict']}" if row["verdict"] else text


def difference_text(row: Mapping[str, Any]) -> str:
    """The mean difference of a treatment so far and its interval; "" before there is one."""
    if row["mean"] is None:
        return ""
    if row["interval"] is None:
        return f"{row['mean']:+.4f}"
    low, high = row["interval"]
    return f"{row['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
