"""Specs as a store holds them: the class is a name, and nothing is imported to read or compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paribus.design.trees import Tree
from paribus.errors import SpecError


@dataclass(frozen=True)
class Reference:
    """A class or function known by name alone: ``module:qualified.name``."""

    name: str

    @property
    def __name__(self) -> str:
        return _short(self.name)

    def to_json(self) -> dict[str, Any]:
        return {"reference": self.name}


class _Default:
    """What an argument has that was not given: only its class knows."""

    __name__ = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = _Default()


@dataclass(frozen=True)
class SpecName(Tree):
    """A spec whose class is a name, ``module:Name``.

    A default that only one of two spells out counts as a difference: their classes are not imported to know better.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    initialized: bool = False

    missing: ClassVar[Any] = DEFAULT

    @property
    def head(self) -> str:
        return self.name

    @property
    def short_name(self) -> str:
        return _short(self.name)

    def to_json(self) -> dict[str, Any]:
        """``{"class": "module:Name", "arguments": {...}}``, as ``Spec.to_json`` writes it."""
        plain = {"class": self.name, "arguments": {name: _plain(value) for name, value in self.arguments}}
        return {**plain, "initialized": True} if self.initialized else plain

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SpecName:
        """The spec that ``to_json`` of it or of a Spec wrote. Raises SpecError for anything else."""
        value = read_value(data)
        if not isinstance(value, SpecName):
            raise SpecError(f"expected the JSON of a spec, got {str(data)[:80]}")
        return value


def read_value(data: Any) -> Any:
    """A value of a spec from its JSON: a SpecName, a Reference, a tuple of values or a plain value."""
    if isinstance(data, list | tuple):
        return tuple(map(read_value, data))
    if not isinstance(data, Mapping):
        return data
    if "reference" in data:
        return Reference(data["reference"])
    try:
        arguments = tuple((name, read_value(value)) for name, value in sorted(data["arguments"].items()))
        return SpecName(data["class"], arguments, data.get("initialized", False))
    except KeyError as error:
        raise SpecError(f"the JSON of a spec lacks {error}: {str(data)[:80]}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, SpecName | Reference):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _short(name: str) -> str:
    return str(name).rpartition(":")[2]
