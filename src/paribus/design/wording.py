"""How messages list and count things. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` was most likely meant to be."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def suggest(name: object, known: Iterable[str], otherwise: str | None = None) -> str:
    """The hint after a name that is not ``known``: ``did you mean 'eps'?``, else ``otherwise`` or what there is."""
    known = list(known)
    if close := nearest(name, known):
        return f"did you mean {close!r}?"
    if otherwise is not None:
        return otherwise
    return f"there is {list_some(map(repr, known), shown=12)}" if known else "there is none"


def list_some(things: Iterable[object], shown: int = 4) -> str:
    """The first few, and how many more; a site "" is the model."""
    told = [str(thing) or "model" for thing in things]
    more = f", and {len(told) - shown:,} more" if len(told) > shown else ""
    return ", ".join(told[:shown]) + more


def write_count(n: int, thing: str) -> str:
    """``n`` things: 1 place, 2 places, 1,000 losses."""
    return f"{n:,} {thing if n == 1 else thing + ('es' if thing.endswith('s') else 's')}"


def shorten_error(error: BaseException) -> str:
    """The class of ``error`` and the first line of what it says."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
