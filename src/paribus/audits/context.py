"""What an audit says of itself. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One audit.

    Args:
        name: ``Finding.check`` of what it finds.
        when: "before" training (from specs, built models and the corpus) or "after" (from records).
        severities: what its findings can be, mildest first.
        sees: what it finds.
        misses: what it cannot see.
        cost: of one arm, or of the corpus.
    """

    name: str
    when: str
    severities: tuple[str, ...]
    sees: str
    misses: str
    cost: str
