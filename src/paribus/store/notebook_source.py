"""What was typed in a notebook: digests of classes and functions without a file, and of all they name there."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import re
import symtable
import sys
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from types import EllipsisType, FunctionType, ModuleType, SimpleNamespace, UnionType
from typing import Any

from paribus.errors import SpecError

_SCALARS = (bool, int, float, complex, str, bytes, type(None), EllipsisType, range)  # told apart by their repr


def follow_typed(things: Mapping[str, Any]) -> tuple[dict[str, str], set[str]]:
    """Digests of what was typed in a notebook, by name, of what it names there in turn; and the modules it names.

    Raises SpecError for a thing whose source cannot be read, and for a global whose value has no digest.
    """
    typed: dict[str, str] = {}
    modules: set[str] = set()
    followed: list[Any] = []
    todo = list(things.items())
    while todo:
        name, thing = todo.pop()
        if name in typed:
            continue
        source, home, found = _source_of(thing), thing.__module__, [thing]
        followed.append(thing)
        typed[name] = digest_source(source) + _digest_bound(name, thing, found)
        around = vars(sys.modules[home])
        for other in sorted(_globals_of(source) & around.keys()):
            value = around[other]
            if isinstance(value, ModuleType):
                modules.add(value.__name__)
            elif _is_typed(value, home):
                todo.append((f"{home}:{other}", value))
            else:
                typed[f"{home}:{other}"] = _digest_global(name, other, value, home, found)
        modules |= {each.__module__ for each in found if each.__module__}
        inner = [each for each in found if _is_typed(each, home) and not any(each is one for one in followed)]
        todo += [(f"{name} > {number} {each.__qualname__}", each) for number, each in enumerate(inner)]
    return typed, modules


def digest_source(source: str) -> str:
    """Over the syntax tree, so that comments and the ``study`` itself may change without a new run."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _assigns_study(node)]
    return _digest(ast.dump(tree))


def _assigns_study(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id in ("study", "scales") for target in targets)


def _source_of(thing: Any) -> str:
    """Its text; empty for a class without a function of its own, which ``_write_bound`` tells by what it holds."""
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        if (source := _source_in_cell(thing)) is not None:
            return source
        if isinstance(thing, type) and _holds_no_code(thing):
            return ""
        raise SpecError(
            f"the source of {thing.__module__}:{thing.__qualname__} cannot be read, so a run of it would have no "
            "identity; put it into a .py file"
        ) from None


def _source_in_cell(cls: Any) -> str | None:
    """The source of a class from the cell of a notebook where its methods stand; None for another class."""
    codes = [member.__code__ for member in vars(cls).values() if isinstance(member, FunctionType)]
    for code in codes:
        lines = linecache.getlines(code.co_filename)
        for node in ast.walk(ast.parse("".join(lines))):
            if not isinstance(node, ast.ClassDef) or node.name != cls.__name__:
                continue
            if node.lineno <= code.co_firstlineno <= (node.end_lineno or 0):
                return textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
    return None


def _holds_no_code(cls: type) -> bool:
    """Whether all its functions come from the standard library, which writes those of a dataclass and an Enum."""
    kinds = [(m, getattr(m, "__func__", None), getattr(m, "fget", None)) for m in vars(cls).values()]
    files = {f.__code__.co_filename for forms in kinds for f in forms if isinstance(f, FunctionType)}
    written = {"<string>"} if is_dataclass(cls) or hasattr(cls, "_fields") else set()
    return all(Path(inspect.__file__).parent in Path(file).parents for file in files - written)


def _globals_of(source: str) -> set[str]:
    """The names that ``source`` looks up outside itself: a local variable is none, whatever else has its name."""
    names: set[str] = set()
    todo = [symtable.symtable(source, "<typed>", "exec")]
    while todo:
        table = todo.pop()
        todo += table.get_children()
        within = table.get_type() == "function"
        names |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (s.is_global() or not within)}
    return names


def _is_typed(value: Any, home: str) -> bool:
    """Whether it is a class or function of the notebook, whose source can be followed."""
    return isinstance(getattr(value, "__qualname__", None), str) and getattr(value, "__module__", None) == home


def _digest_global(owner: str, name: str, value: Any, home: str, found: list[Any]) -> str:
    try:
        return _digest(_write(value, home, found))
    except (_Unwritten, RecursionError) as error:
        raise _refuse(f"{owner} uses the global {name!r}, {_of_kind(value)}", value, error) from None


def _digest_bound(name: str, thing: Any, found: list[Any]) -> str:
    """Of what a class or function holds beside its source; empty where that is nothing."""
    try:
        bound = _write_bound(thing, thing.__module__, found)
    except (_Unwritten, RecursionError) as error:
        raise _refuse(f"{name} holds a value from where it was defined", thing, error) from None
    return _digest(bound) if bound else ""


def _refuse(said: str, value: Any, error: Exception) -> SpecError:
    inside = error.args[0] if isinstance(error, _Unwritten) else "itself"
    what = "" if inside == _of_kind(value) else f" (in it: {inside})"
    return SpecError(
        f"{said}{what}, which has no digest: a run would not notice that it changed; put it in a .py file, or make it "
        "an argument"
    )


class _Unwritten(Exception):
    """A value that no text tells apart from others of its kind."""


def _write(value: Any, home: str, found: list[Any]) -> str:
    """A text that two values share only where nothing can come out otherwise. Raises _Unwritten where there is none.

    Classes and functions in ``value`` join ``found``.
    """

    def each(values: Any) -> list[str]:
        return [_write(item, home, found) for item in values]

    kind = type(value)
    if kind in _SCALARS or _is_literal(value):
        return repr(value)
    if isinstance(value, UnionType) or typing.get_origin(value) is not None:
        return f"{typing.get_origin(value)}{each(typing.get_args(value))}"
    if isinstance(getattr(value, "__qualname__", None), str):
        return _write_named(value, home, found)
    if kind in (set, frozenset):
        return f"{kind.__name__}{sorted(each(value))}"
    if kind is SimpleNamespace:
        return f"SimpleNamespace{sorted(zip(vars(value), each(vars(value).values()), strict=True))}"
    if kind is functools.partial:
        return f"partial{each((value.func, value.args, value.keywords))}"
    if isinstance(value, Enum):
        return f"{each((kind,))}{value.name}{each((value.value,))}"
    if isinstance(value, Mapping):
        return f"{each((kind,))}{each(value.keys())}{each(value.values())}"
    if kind in (list, tuple) or (isinstance(value, tuple) and hasattr(kind, "_fields")):
        return f"{each((kind,))}{each(value)}"
    if is_dataclass(value):
        names = sorted({field.name for field in fields(value)} | getattr(value, "__dict__", {}).keys())
        return f"{each((kind,))}{names}{each(getattr(value, name) for name in names)}"
    if isinstance(value, re.Pattern):
        return f"re({value.pattern!r}, {value.flags})"
    if isinstance(value, PurePath | typing.TypeVar):
        return repr(value)
    if (array := _write_array(value)) is not None:
        return array
    raise _Unwritten(_of_kind(value))


def _write_named(thing: Any, home: str, found: list[Any]) -> str:
    """A class or function: its name, its source where it was typed, and what it holds. Another time the name alone."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if any(thing is other for other in found):
        return name
    found.append(thing)
    source = digest_source(_source_of(thing)) if _is_typed(thing, home) else ""
    return name + source + _write_bound(thing, home, found)


def _write_bound(thing: Any, home: str, found: list[Any]) -> str:
    """What stands beside the source: closed-over values, defaults, a method's object, a class's plain attributes."""
    held: list[Any] = []
    if isinstance(thing, FunctionType):
        closed = inspect.getclosurevars(thing).nonlocals  # none that was not set yet
        held = [closed[name] for name in sorted(closed)] + [thing.__defaults__, thing.__kwdefaults__]
    elif isinstance(thing, type):
        held = [_data_of(thing), *thing.__bases__] if _is_typed(thing, home) else []
    elif not isinstance(owner := getattr(thing, "__self__", None), ModuleType | type):
        held = [owner]
    return "".join(_write(value, home, found) for value in held if value is not None)


def _data_of(cls: type) -> dict[str, Any]:
    """The attributes of a class that are data: an Enum's members; where its source is read, plain values alone."""
    if issubclass(cls, Enum):
        return {name: member.value for name, member in cls.__members__.items()}
    data = {key: value for key, value in vars(cls).items() if not (key.startswith("__") or hasattr(value, "__get__"))}
    return {key: value for key, value in data.items() if _is_literal(value)} if _source_of(cls) else data


def _write_array(value: Any) -> str | None:
    """Dtype, shape and bytes of a tensor or an array; None for anything else. Imports neither library."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and isinstance(value, torch.dtype | torch.device | torch.Size):
        return repr(value)
    if numpy and isinstance(value, numpy.dtype):
        return repr(value)
    if torch and type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided:
        if value.is_meta or value.is_quantized:
            return None
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return f"tensor({value.dtype}, {tuple(value.shape)}, {_digest(flat.view(torch.uint8).numpy().tobytes())})"
    if numpy and (type(value) is numpy.ndarray or isinstance(value, numpy.generic)) and not value.dtype.hasobject:
        return f"array({value.dtype!r}, {value.shape}, {_digest(value.tobytes())})"
    return None


def _is_literal(value: Any) -> bool:
    """Whether it is made of plain values alone, which their repr tells apart."""
    if type(value) in (list, tuple):
        return all(map(_is_literal, value))
    if type(value) is dict:
        return all(map(_is_literal, value.keys())) and all(map(_is_literal, value.values()))
    return type(value) in _SCALARS


def _of_kind(value: Any) -> str:
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
