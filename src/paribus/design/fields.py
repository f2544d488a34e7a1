"""Fields of the classes that a user fills in: what is wrong with a value, or with a field's name, in a sentence."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from paribus.design.trees import shorten
from paribus.design.wording import suggest
from paribus.errors import StudyError

_Class = TypeVar("_Class", bound=type)

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]

_RENAMED = {"rate_probe": "extra_rates"}
"""Fields of older study files, and what they are called now."""


def known_fields(cls: _Class) -> _Class:
    """The attrs class ``cls``, whose constructor raises StudyError for a keyword that it lacks and a value it needs.

    A keyword of ``_RENAMED`` is taken under its new name, with a FutureWarning.
    """
    fields = [field for field in attrs.fields(cls) if field.init]
    names = [field.alias for field in fields]
    needed = [field.alias for field in fields if field.default is attrs.NOTHING]
    initialize = cls.__init__  # type: ignore[misc]  # that of the class, of which no instance is there yet

    @functools.wraps(initialize)
    def checked(self: Any, *given: Any, **named: Any) -> None:
        for name in [name for name in named if name not in names]:
            new = _RENAMED.get(name, "")
            if new not in names or new in named:
                raise StudyError(f"{cls.__name__} has no field {name!r}; {suggest(name, names)}")
            warnings.warn(f"{cls.__name__}: {name} is called {new} now", FutureWarning, stacklevel=2)
            named[new] = named.pop(name)
        if lacking := [name for name in needed if name not in {*names[: len(given)], *named}]:
            raise StudyError(f"{cls.__name__} needs {', '.join(lacking)}")
        initialize(self, *given, **named)

    cls.__init__ = checked  # type: ignore[misc]
    return cls


def count(least: int = 1, of: str = "") -> Validator:
    """A whole number of at least ``least``; ``of`` stands in front of the field's name."""

    def require(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise StudyError(f"{of}{field.name} must be a whole number of at least {least}, got {value!r}")

    return require


def number(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """An int or a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise StudyError(f"{field.name} must be a number, got the {type(value).__name__} {value!r}")


def one_of(*choices: Any) -> Validator:
    def require(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise StudyError(f"{field.name} is {' or '.join(map(repr, choices))}, got {shorten(value)}")

    return require


def must_be(kind: type, name: str, write: str = "") -> Validator:
    """An instance of ``kind``, which the message calls ``name``; ``write`` is an example."""

    def require(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            example = f"; write {write}" if write else ""
            raise StudyError(f"{field.name} must be {name}, got {shorten(value)}{example}")

    return require
