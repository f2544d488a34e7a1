"""`paribus report`: judges a study again from what lies in the store, and writes its report."""

from __future__ import annotations

from pathlib import Path

from paribus.errors import StoreError
from paribus.lab.judging import judge, write_judged
from paribus.reports.result import Result
from paribus.store.store import DEFAULT_STORE, Store


def report(store: str | Path = DEFAULT_STORE, name: str | None = None) -> Result:
    """Judge study ``name`` again from what lies in the store, write its report in every form, and return the result.

    Trains nothing and imports none of the user's code. ``name`` may be left out where the store holds one study.
    Raises StoreError where the store holds no study ``name``, or several and none is named, and where a file is
    damaged; JudgementError where the registration was changed after it was written.
    """
    place = Store.open(store)
    names = place.study_names()
    if not names:
        raise StoreError(f"{store} holds no registered study yet")
    if name is None and len(names) != 1:
        raise StoreError(f"{store} holds {len(names)} studies; name one: {', '.join(names)}")
    return write_judged(judge(store, name or names[0]), place)
