"""Markdown, as a notebook, an editor and GitHub show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    """``text`` as it stands: no emphasis, link, table cell, formula or HTML of its own."""
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """A table of plain text, whose line breaks stay; with ``numbers`` all columns but the first stand to the right."""

    def write(cells: Sequence[str]) -> str:
        return f"| {' | '.join('<br>'.join(map(escape, cell.split(chr(10)))) or ' ' for cell in cells)} |"

    sides = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join([write(header), f"| {' | '.join(sides)} |", *map(write, rows)])


def join_verdict(kind: str, sentences: Iterable[str]) -> str:
    """The word of a verdict before its sentences, each a paragraph."""
    return f"**{kind}** " + "\n\n".join(escape(sentence) for sentence in sentences if sentence)
