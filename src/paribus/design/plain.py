"""Frozen classes to plain values and back: what JSON holds under the names of their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from cattrs import Converter

_Class = TypeVar("_Class")


def to_plain(value: Any) -> Any:
    """``value`` as ``json.dumps`` takes it: what has ``to_json`` by that, classes by their fields, tuples as lists."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if attrs.has(type(value)) or is_dataclass(value):
        return fields_to_plain(value)
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def fields_to_plain(thing: Any) -> dict[str, Any]:
    """The fields of a frozen class by name, as plain values."""
    named = attrs.fields(type(thing)) if attrs.has(type(thing)) else fields(thing)
    return {field.name: to_plain(getattr(thing, field.name)) for field in named}


def read_plain(cls: type[_Class], data: Any) -> _Class:
    """What ``to_plain`` made of an instance of ``cls``; numbers stay as they are written.

    A field that ``data`` lacks takes its default, and one that ``cls`` lacks is left out.
    """
    read: Callable[[Any, type[_Class]], _Class] = _reader(cls)  # type: ignore[arg-type]  # classes are hashable
    return read(data, cls)


@cache
def _reader(cls: type[Any]) -> Callable[[Any, type[Any]], Any]:
    """That of the fields, also where ``cls`` itself has a ``from_json``."""
    from cattrs.gen import make_dict_structure_fn

    return make_dict_structure_fn(cls, _converter())


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(detailed_validation=False)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, lambda value, _: value)
    converter.register_structure_hook_func(
        lambda cls: hasattr(cls, "from_json"), lambda value, cls: cls.from_json(value)
    )
    return converter
