"""Dataclasses that a user fills in: a field that is not there is an error with the nearest name."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeVar

from paribus.design.wording import suggest
from paribus.errors import StudyError

_Class = TypeVar("_Class", bound=type)


def known_fields(cls: _Class) -> _Class:
    """The dataclass ``cls``, whose constructor raises StudyError for a keyword that it lacks and a value it needs."""
    fields = [field for field in dataclasses.fields(cls) if field.init]
    names = [field.name for field in fields]
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    initialize = cls.__init__  # type: ignore[misc]  # that of the class, of which no instance is there yet

    @functools.wraps(initialize)
    def checked(self: Any, *given: Any, **named: Any) -> None:
        for name in named:
            if name not in names:
                raise StudyError(f"{cls.__name__} has no field {name!r}; {suggest(name, names)}")
        if lacking := [name for name in needed if name not in {*names[: len(given)], *named}]:
            raise StudyError(f"{cls.__name__} needs {', '.join(lacking)}")
        initialize(self, *given, **named)

    cls.__init__ = checked  # type: ignore[misc]
    return cls
