"""What happens while a study runs, shown where it was started: in a notebook's cell, at a terminal, in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from paribus.design.markup import escape, write_table
from paribus.lab.progress import LiveTable, difference_text, progress, run_cells
from paribus.store.events import Observe

_SECONDS = 0.25  # between two drawings of a step


@contextmanager
def watch(observe: Observe | None) -> Iterator[Observe]:
    """Yield the function that is called with every event: ``observe``, or where it is None one that shows them here."""
    if observe is not None:
        yield observe
    elif is_kernel():
        yield LiveCell().observe
    else:
        with progress() as shown:
            yield shown


def is_kernel() -> bool:
    """Whether this process is the kernel of a notebook; imports nothing."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class LiveCell:
    """The live table as one output of the cell, drawn again in its place; its last state stays."""

    def __init__(self) -> None:
        from IPython.display import display

        self.table = LiveTable()
        self.handle = display(self._draw(), display_id=True)
        self.drawn = time.monotonic()

    def observe(self, event: Mapping[str, Any]) -> None:
        self.table.observe(event)
        if event["event"] != "progress" or time.monotonic() - self.drawn > _SECONDS:
            self.handle.update(self._draw())
            self.drawn = time.monotonic()

    def _draw(self) -> Any:
        from IPython.display import Markdown

        table = self.table
        treatments = [
            (row["treatment"], row["pairs"], difference_text(row), row["verdict"] or _standing(row))
            for row in table.rows
        ]
        runs = [run_cells(run) for run in table.running.values()]
        return Markdown(write_progress(list(dict.fromkeys(table.messages)), runs, treatments))


def _standing(row: Mapping[str, Any]) -> str:
    return "..." if row["primary"] else "descriptive"


def write_progress(
    messages: Sequence[str], runs: Sequence[Sequence[str]], treatments: Iterable[tuple[str, int, str, str]]
) -> str:
    """A study under way: what is being done, a row per running run, and name, pairs, difference and kind per treatment.

    The cells of a run are its name, step, loss, tokens per second and time left.
    """
    blocks = [escape(text) if place else f"**{escape(text)}**" for place, text in enumerate(messages)]
    if runs:
        blocks.append(write_table(("run", "step", "loss", "tokens/s", "left"), runs, numbers=True))
    rows = [[name, str(pairs), difference, kind] for name, pairs, difference, kind in treatments]
    if rows:
        blocks.append(write_table(("treatment", "pairs", "difference and interval", "verdict"), rows))
    return "\n\n".join(blocks)
