"""How messages list and count things. No torch."""

from __future__ import annotations

from collections.abc import Iterable


def list_some(things: Iterable[object], shown: int = 4) -> str:
    """The first few, and how many more; a site "" is the model."""
    told = [str(thing) or "model" for thing in things]
    more = f", and {len(told) - shown:,} more" if len(told) > shown else ""
    return ", ".join(told[:shown]) + more


def write_count(n: int, thing: str) -> str:
    """``n`` things: 1 place, 2 places, 1,000 losses."""
    return f"{n:,} {thing if n == 1 else thing + ('es' if thing.endswith('s') else 's')}"
