"""Classes with their arguments as a tree: what a Spec and a SpecName have in common, and where two trees differ.

Paths follow the arguments: ``blocks.0.mlp.d_ff`` is the argument ``d_ff`` of the part ``mlp`` in the first entry of
``blocks``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from paribus.design.wording import suggest
from paribus.errors import SpecError


class Tree(ABC):
    """A class and the arguments that were given for it, in name order.

    ``initialized``: whether weights that torch drew by default are drawn anew, as those of the model's own parts.
    A value is None, a bool, int, float, str, a class or function, a tree, or a tuple of these.
    """

    arguments: tuple[tuple[str, Any], ...]
    initialized: bool
    missing: ClassVar[Any] = None  # the value of an argument that only the other of two trees has

    @property
    @abstractmethod
    def head(self) -> Any:
        """The class, equal for all trees of one class."""

    @property
    @abstractmethod
    def short_name(self) -> str:
        """The class's name without its module."""

    def resolved(self) -> dict[str, Any]:
        """All arguments that are known, by name."""
        return dict(self.arguments)

    def __getitem__(self, path: str) -> Any:
        """The value at ``path``. Raises SpecError where there is none."""
        node: Any = self
        for key in path.split("."):
            if isinstance(node, Tree) and key in (values := node.resolved()):
                node = values[key]
            elif isinstance(node, tuple) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise SpecError(f"no {path!r} in {self.short_name}; {suggest(path, self.paths())}")
        return node

    def sites(self) -> dict[str, Self]:
        """Every tree below this one, by path, parents first."""
        return {path: node for path, node in self.walk() if isinstance(node, type(self)) and path}

    def paths(self) -> list[str]:
        """Every path at which there is a value."""
        return [path for path, _ in self.walk() if path]

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Every path and its value, parents first; the tree itself is at ""."""
        stack: list[tuple[str, Any]] = [("", self)]
        while stack:
            path, node = stack.pop()
            yield path, node
            children: list[tuple[str, Any]] = []
            if isinstance(node, Tree):
                children = list(node.resolved().items())
            elif isinstance(node, tuple):
                children = [(str(index), item) for index, item in enumerate(node)]
            stack.extend((join(path, key), child) for key, child in reversed(children))

    def diff(self, other: Self) -> tuple[Change, ...]:
        """The differences from this tree to ``other``, outermost first."""
        return tuple(differences(self, other))

    def __str__(self) -> str:
        return describe(self)


@dataclass(frozen=True)
class Change:
    """One difference between two trees: the path and the value before and after."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        before, after = self.before, self.after
        if isinstance(before, tuple) and isinstance(after, tuple) and len(before) != len(after):
            return f"{self.path or 'model'}: {len(before)} -> {len(after)} entries"
        return f"{self.path or 'model'}: {describe(before)} -> {describe(after)}"


def differences(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The differences between two values of trees, at and below ``path``.

    Trees of one class are compared argument by argument and tuples of one length entry by entry. Values of two types
    differ, 1 and True too.
    """
    if isinstance(before, Tree) and isinstance(after, Tree) and _are_alike(before, after):
        left, right = before.resolved(), after.resolved()
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key, before.missing), right.get(key, after.missing), join(path, key))
    elif isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, join(path, str(index)))
    elif type(before) is not type(after) or before != after:
        yield Change(path, before, after)


def _are_alike(one: Tree, other: Tree) -> bool:
    """Whether two trees can differ below alone."""
    return (one.head, one.initialized) == (other.head, other.initialized)


def group_changes(changes: Iterable[Change], write: Callable[[Any], str]) -> dict[tuple[str, str], list[str]]:
    """The paths of equal changes, by what ``write`` makes of their values before and after."""
    groups: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        groups.setdefault((write(change.before), write(change.after)), []).append(change.path or "model")
    return groups


def changed_sites(before: Tree, after: Tree) -> set[str]:
    """Paths of the parts at which two trees differ; "" is the model itself.

    An argument counts as the part that takes it; a list of parts of another length is one site.
    """
    return {
        change.path if _holds_part(change.before) or _holds_part(change.after) else site_of(change.path, before)
        for change in differences(before, after)
    }


def _holds_part(value: Any) -> bool:
    return isinstance(value, Tree) or (isinstance(value, tuple) and any(map(_holds_part, value)))


def describe(value: Any) -> str:
    """A tree or value in one short line, as one would write it."""
    if isinstance(value, Tree):
        inner = ", ".join(f"{name}={describe(item)}" for name, item in value.arguments)
        return f"initialized({value.short_name}({inner}))" if value.initialized else f"{value.short_name}({inner})"
    if isinstance(value, tuple):
        return "(" + ", ".join(describe(item) for item in value) + ")"
    return getattr(value, "__name__", None) or repr(value)


def shorten(value: Any) -> str:
    """``describe`` in at most 80 characters, for messages."""
    text = describe(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def site_of(path: str, tree: Tree) -> str:
    """The innermost site of ``tree`` at or above ``path``; "" is the model itself."""
    sites = tree.sites()
    while path and path not in sites:
        path = path.rpartition(".")[0]
    return path


def lies_under(path: str, site: str) -> bool:
    """Whether ``path`` is ``site`` or below it; all is below "", the model."""
    return not site or path == site or path.startswith(f"{site}.")


def join(path: str, key: str) -> str:
    """The path of ``key`` below ``path``."""
    return f"{path}.{key}" if path else key
