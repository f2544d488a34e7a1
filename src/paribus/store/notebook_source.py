"""Digests of classes and functions that a notebook's cells define, and of what they use there."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import symtable
import sys
import textwrap
import types
from collections.abc import Mapping
from typing import Any

from paribus.errors import SpecError
from paribus.store.own_source import read_syntax

_PLAIN = (bool, int, float, complex, str, bytes, type(None), types.EllipsisType)
_HINTS = (types.GenericAlias, types.UnionType)


def follow_typed(things: Mapping[str, Any]) -> tuple[dict[str, str], set[str]]:
    """Per class or function a digest of its source and of all that it uses in the notebook; and the modules it uses.

    It may use literals, lists, tuples, sets and dicts, arrays and tensors, classes and functions.
    Raises SpecError for a class or function whose source cannot be read, and for a value of another kind.
    """
    modules: set[str] = set()
    digests = {name: _digest(_write(thing, name, thing.__module__, [], modules)) for name, thing in things.items()}
    return digests, modules


def _write(value: Any, where: str, home: str, seen: list[Any], modules: set[str]) -> str:
    """A text that two values share only where they are equal.

    Args:
        where: which class or function uses ``value``, and how.
        home: the notebook's module.
        seen: classes and functions that were written before, and are written by their names alone.
        modules: grows by the modules that ``value`` is or comes from.
    """
    kind = type(value)
    if kind in _PLAIN or isinstance(value, _HINTS) or kind.__module__ == "typing":
        return repr(value)
    if kind in (list, tuple, set, frozenset, dict):
        items = [_write(item, where, home, seen, modules) for item in (value.items() if kind is dict else value)]
        return f"{kind.__name__}{sorted(items) if kind in (set, frozenset) else items}"
    if kind is types.ModuleType:
        modules.add(value.__name__)
        return str(value.__name__)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return _write_named(value, home, seen, modules)
    if (array := _write_array(value)) is not None:
        return array
    named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise SpecError(
        f"{where}, a {named}, which has no digest: a run would not notice that it changed; put it in a .py file, or "
        "make it an argument"
    )


def _write_named(thing: Any, home: str, seen: list[Any], modules: set[str]) -> str:
    """A class or function by its name, what a function was bound to, and its source where the notebook has it."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if any(thing is other for other in seen):
        return name
    seen.append(thing)
    held: list[Any] = []
    if isinstance(thing, types.FunctionType):
        closed = inspect.getclosurevars(thing).nonlocals  # none that was not set yet
        held = [closed, thing.__defaults__, thing.__kwdefaults__]
    elif isinstance(thing, type) and thing.__module__ == home:  # which another cell may have set since
        held = [{key: item for key, item in vars(thing).items() if type(item) in _PLAIN and not key.startswith("__")}]
    written = name + _write(held, f"{name} holds a value from where it was defined", home, seen, modules)
    if thing.__module__ != home:
        modules |= {thing.__module__} if thing.__module__ else set()  # a function of C may say none
        return written
    source, around = _read_source(thing), vars(sys.modules[home])
    for used in sorted(_globals_of(source) & around.keys()):
        written += used + _write(around[used], f"{name} uses the global {used!r}", home, seen, modules)
    return written + read_syntax(ast.parse(source).body).text


def _read_source(thing: Any) -> str:
    """The text of a function, or of a class with a method, from the cell where it stands."""
    try:
        source = inspect.getsource(thing) if isinstance(thing, types.FunctionType) else _source_in_cell(thing)
        ast.parse(source := textwrap.dedent(source))
        return source
    except (OSError, TypeError, SyntaxError):
        raise SpecError(
            f"the source of {thing.__module__}:{thing.__qualname__} cannot be read, so a run of it would have no "
            "identity; put it into a .py file"
        ) from None


def _source_in_cell(cls: type) -> str:
    """The source of a class, found by the line where one of its methods begins. Raises OSError where there is none."""
    for member in vars(cls).values():
        if isinstance(member, types.FunctionType):
            lines, first = linecache.getlines(member.__code__.co_filename), member.__code__.co_firstlineno
            classes = [node for node in ast.walk(ast.parse("".join(lines))) if isinstance(node, ast.ClassDef)]
            for node in classes:
                if node.name == cls.__name__ and node.lineno <= first <= (node.end_lineno or 0):
                    return "".join(lines[node.lineno - 1 : node.end_lineno])
    raise OSError


def _globals_of(source: str) -> set[str]:
    """The names that ``source`` looks up outside itself: a local variable is none, whatever else has its name."""
    names: set[str] = set()
    todo = [symtable.symtable(source, "<cell>", "exec")]
    while todo:
        table = todo.pop()
        todo += table.get_children()
        within = table.get_type() == "function"
        names |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (s.is_global() or not within)}
    return names


def _write_array(value: Any) -> str | None:
    """Dtype, shape and bytes of a tensor or an array; None for anything else. Imports neither library."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and isinstance(value, torch.dtype | torch.device):
        return repr(value)
    if torch and type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided:
        if value.is_meta or value.is_quantized:
            return None
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return f"tensor({value.dtype}, {tuple(value.shape)}, {_digest(flat.view(torch.uint8).numpy().tobytes())})"
    if numpy and (type(value) is numpy.ndarray or isinstance(value, numpy.generic)) and not value.dtype.hasobject:
        return f"array({value.dtype!r}, {value.shape}, {_digest(value.tobytes())})"
    return None


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
