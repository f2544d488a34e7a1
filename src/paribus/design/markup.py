"""What a notebook shows of a study, a comparison, a verdict and a result: small HTML, of plain data.

Text and background are the page's own, light or dark; only the word of a verdict stands on a colour of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

COLOURS = {
    "better": "#1a7f37",
    "worse": "#c93c37",
    "equivalent": "#1f6feb",
    "undecided": "#8a6a00",
    "invalid": "#b5389a",
}
"""Behind the white word of a verdict: at least 4.5 to 1 against it, and 3 to 1 against a white or a black page."""

_LINE = "1px solid rgba(128,128,128,.4)"


class Markup(str):
    """Text that is HTML already."""


def verdict_sentences(verdict: Mapping[str, Any]) -> str:
    said = paragraph(Markup(f"{badge(verdict['kind'])} {escape(verdict['sentence'])}"))
    return Markup(said + (paragraph(verdict["wider_sentence"]) if verdict["wider_sentence"] else ""))


def badge(kind: str) -> str:
    """The word of a verdict on its colour; any other word as it is."""
    if kind not in COLOURS:
        return Markup(escape(kind))
    style = f"background:{COLOURS[kind]};color:#ffffff;padding:0 .5em;border-radius:.6em;font-weight:bold"
    return Markup(f'<span style="{style}">{kind}</span>')


def lines(texts: Iterable[str]) -> str:
    return Markup("<br>".join(map(escape, texts)))


def _text(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)


def paragraph(text: str, bold: bool = False) -> str:
    return f'<p style="margin:.3em 0">{f"<b>{_text(text)}</b>" if bold else _text(text)}</p>'


def block(*parts: str) -> str:
    return Markup(f"<div>{''.join(parts)}</div>")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """A table; with ``numbers`` all columns but the first stand to the right."""

    def cell(tag: str, text: str, place: int) -> str:
        side = "right" if numbers and place else "left"
        style = f"text-align:{side};padding:.15em .8em .15em 0;vertical-align:top;border-bottom:{_LINE}"
        return f'<{tag} style="{style}">{_text(text)}</{tag}>'

    lines = [("th", header)] if header else []
    lines += [("td", row) for row in rows]
    body = "".join(f"<tr>{''.join(cell(tag, t, i) for i, t in enumerate(line))}</tr>" for tag, line in lines)
    return f'<table style="border-collapse:collapse;font-size:inherit;margin:.4em 0">{body}</table>'
