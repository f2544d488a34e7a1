"""What a check is, and the loop over them. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from paribus.store.records import Finding

Context = TypeVar("Context")


@dataclass(frozen=True)
class Check(Generic[Context]):
    """One reason to doubt a comparison, and how it is looked for.

    Args:
        name: ``Finding.check`` of what it finds.
        when: "before" training (from specs, built models and the corpus) or "after" (from records).
        severities: what its findings can be, mildest first.
        sees: what it finds.
        misses: what it cannot see.
        cost: of one arm, or of the corpus.
        needs: what it must be shown: before training "specs", "models" of all arms, the "model" of one, or the
            "corpus"; after it "records", "steps", "times", "verdicts", or the extra runs "rates", "widths", "tuning"
            and "null". A context that does not have it in ``shown`` is not checked.
        find: from a context to findings; several checks may share one. None for a check whose findings are made where
            the study is read or registered.
    """

    name: str
    when: str
    severities: tuple[str, ...]
    sees: str
    misses: str
    cost: str
    needs: str
    find: Callable[[Context], Iterable[Finding]] | None = None


class Shows(Protocol):
    """A context: what the checks of one phase look at."""

    @property
    def shown(self) -> Collection[str]:
        """What a check may need of it."""
        ...


def run_checks(checks: Iterable[Check[Any]], context: Shows) -> Iterator[Finding]:
    """The findings of those ``checks`` that need what ``context`` shows, in their order."""
    for find in dict.fromkeys(check.find for check in checks if check.needs in context.shown):
        if find is not None:
            yield from find(context)
