"""Which source of paribus a run uses: read as syntax trees, and never imported.

What is counted is a definition: a class, function or constant at the top level of a module. It uses the definitions
whose names it holds, through imports at any level, and so on. Comments, docstrings, the place of a file and all that is
not reached leave a digest as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from paribus.design.digests import digest_text
from paribus.errors import SpecError

_ROOT = Path(__file__).parents[1]

# What a run raises, where it is kept, and what planned it.
_ROOMS_LEFT_OUT: tuple[list[str], ...] = ([], ["errors"], ["store"], ["experiment"])
_ROOMS_OF_PARTS = (["nn"], ["data"], ["training"])
_LEFT_OUT = (
    "paribus.data:prepare",  # the identity of a run has the digest of the tokens that come out
    "paribus.design.study_files:import_file",  # and that of the user's source
)
_LOOKS_UP_NAMES = {"globals", "exec", "eval", "__import__", "import_module"}


class Name(NamedTuple):
    """A definition in a module; ``name`` is "" for the module itself."""

    module: str
    name: str


class Import(NamedTuple):
    """What a local name stands for, in the words of the file: levels up, module, and the name in it or ""."""

    local: str
    level: int
    module: str
    name: str


@dataclass(frozen=True)
class Syntax:
    """What source says and what it names.

    Args:
        text: its syntax tree, without positions and docstrings; of what it imports from paribus the local names alone.
        chains: dotted names that are read, such as "x" and "pb.nn.RMSNorm", each as long as it stands there.
        imports: all of them, those inside functions too.
    """

    text: str
    chains: frozenset[str]
    imports: frozenset[Import]


def read_syntax(statements: Iterable[ast.stmt]) -> Syntax:
    """What ``statements`` say and name."""
    text: list[str] = []
    chains: set[str] = set()
    imports: set[Import] = set()

    def write(value: object) -> None:
        if isinstance(value, list):
            text.append("[")
            for item in value:
                write(item)
            text.append("]")
        elif not isinstance(value, ast.AST):
            text.append(f"{value!r},")
        elif isinstance(value, ast.Import | ast.ImportFrom):
            write_import(value)
        elif not (isinstance(value, ast.Expr) and _is_text(value.value)):
            if isinstance(value, ast.Name | ast.Attribute) and (chain := _chain_of(value)):
                chains.add(chain)
                text.append(f"{chain},")
                return
            text.append(f"{type(value).__name__}(")
            for field in value._fields:
                write(getattr(value, field, None))
            text.append(")")

    def write_import(node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                found = Import(alias.asname or alias.name, node.level, node.module or "", alias.name)
            elif alias.asname:
                found = Import(alias.asname, 0, alias.name, "")
            else:
                found = Import(alias.name.partition(".")[0], 0, alias.name.partition(".")[0], "")
                imports.add(Import(alias.name, 0, alias.name, ""))  # it is imported too; no chain begins with it
            imports.add(found)
            text.append(f"import {found.local}," if is_own(found.module) else f"import {found},")

    for statement in statements:
        write(statement)
    return Syntax("".join(text), frozenset(chains), frozenset(imports))


def is_own(module: str) -> bool:
    """Whether a module is part of paribus; a built-in study is a user's file, and is not."""
    return module == "paribus" or (module.startswith("paribus.") and not module.startswith("paribus.studies."))


def digest_own(names: Iterable[str]) -> str:
    """Digest of the definitions of paribus that ``names``, such as "paribus.nn:RMSNorm", use; "" where that is nothing.

    A name that ends in a colon is a module: all of it. Equal source in another file has an equal digest.
    Raises SpecError for a name that paribus does not have.
    """
    todo = {found for name in names for found in _expand(_require(name))}
    reached: set[Name] = set()
    while todo:
        name = todo.pop()
        if name not in reached and _counts(name):
            reached.add(name)
            todo |= _uses(name)
    lines = sorted({_digest_with_uses(name) for name in reached if _read_definition(name).text})
    return digest_text("".join(lines)) if lines else ""


def names_own(syntax: Syntax) -> set[str]:
    """What source of the user's names of the parts of paribus, as ``digest_own`` takes it."""
    return _names_of_parts(_targets(syntax, "").values())


def names_in(modules: Iterable[str]) -> set[str]:
    """All parts of paribus that ``modules`` have, as ``digest_own`` takes them; other modules have none."""
    return _names_of_parts(found for module in modules if is_own(module) for found in _expand(_find(module, "")))


def _names_of_parts(targets: Iterable[Name | str]) -> set[str]:
    found = {target for target in targets if isinstance(target, Name)}
    return {f"{name.module}:{name.name}" for name in found if name.module.split(".")[1:2] in _ROOMS_OF_PARTS}


@dataclass(frozen=True)
class _Module:
    """A module of paribus: which statements bind a name, what it imports, and what else runs when it is imported."""

    definitions: Mapping[str, Sequence[ast.stmt]]
    imports: Mapping[str, Import]
    others: Sequence[ast.stmt]


@cache
def _read_module(module: str) -> _Module | None:
    """None where paribus has no such module. A room says in its ``.pyi`` where its names come from."""
    path = _ROOT.joinpath(*module.split(".")[1:])
    files = (path / "__init__.pyi", path / "__init__.py", path.with_name(f"{path.name}.py"))
    file = next((file for file in files if file.is_file()), None)
    if file is None or not is_own(module):
        return None
    definitions: dict[str, list[ast.stmt]] = {}
    imports: dict[str, Import] = {}
    others = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= {found.local: found for found in read_syntax([node]).imports}
        elif not _is_for_types(node):
            bound = _bound_by(node)
            for name in bound:
                definitions.setdefault(name, []).append(node)
            is_plain = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign) and bound
            if not is_plain and not (isinstance(node, ast.Expr) and _is_text(node.value)):
                others.append(node)
    return _Module(definitions, imports, others)


def _bound_by(node: ast.stmt) -> set[str]:
    """Names that a statement of a module binds there."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inner = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return bound | {n.name for n in inner} | {found.local for found in read_syntax([node]).imports}


def _find(module: str, name: str) -> Name | None:
    """Where ``name`` of ``module`` is defined, through all that import it from elsewhere; None where it is not ours."""
    source = _read_module(module)
    if source is None or not name:
        return Name(module, "") if source else None
    if name in source.definitions:
        return Name(module, name)
    if name in source.imports:
        _, level, origin, original = source.imports[name]
        home = f"{module}.{origin}".rstrip(".") if level else origin  # only a room's ``.pyi`` counts levels
        return _find(home, original) if home != module else _submodule(module, original)
    return _submodule(module, name)


def _submodule(module: str, name: str) -> Name | None:
    return Name(f"{module}.{name}", "") if _read_module(f"{module}.{name}") else None


@cache
def _read_definition(name: Name) -> Syntax:
    """A definition; with the name "" what its module runs beside its definitions."""
    module = _read_module(name.module)
    assert module
    return read_syntax(module.definitions[name.name] if name.name else module.others)


def _targets(syntax: Syntax, module: str) -> dict[str, Name | str]:
    """What the names in ``syntax``, which stands in ``module``, mean: a definition of paribus, or something imported.

    A module of paribus that is not followed by one of its names means all of its definitions.
    """
    source = _read_module(module) if module else None
    imports = {*syntax.imports, *(source.imports.values() if source else ())}
    found: dict[str, Name | str] = {}
    for chain in {*syntax.chains, *(one.local for one in syntax.imports if one.name)}:
        first, *rest = chain.split(".")
        targets = [Name(module, first)] if source and first in source.definitions else []
        for _, _, origin, name in (one for one in imports if one.local == first):
            if not is_own(origin):
                found[f"{chain} {origin} {name}"] = f"{origin}:{name}"
            elif target := _find(origin, "" if name == "*" else name):
                targets.append(target)
        for target in targets:
            found |= {f"{chain} {each.name}": each for each in _expand(_follow(target, rest))}
    if source and syntax.chains & _LOOKS_UP_NAMES:
        found |= {name: Name(module, name) for name in source.definitions}
    return found


def _follow(target: Name | None, attributes: Sequence[str]) -> Name | None:
    """What a dotted name means: attributes of a module are its definitions, those of a definition are part of it."""
    for attribute in attributes:
        if target and not target.name:
            target = _find(target.module, attribute)
    return target


def _expand(target: Name | None) -> set[Name]:
    """A definition, or all that a module has, by name, and the modules that it has."""
    found: set[Name] = set()
    todo, seen = [target], set()
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        seen.add(one)
        if one.name:
            found.add(one)
        elif source := _read_module(one.module):
            todo += [_find(one.module, name) for name in {*source.definitions, *source.imports}]
    return found


@cache
def _counts(name: Name) -> bool:
    """Whether a definition can change the numbers of a run that the rest of its identity does not name."""
    return name.module.split(".")[1:2] not in _ROOMS_LEFT_OUT and name not in map(_require, _LEFT_OUT)


def _uses(name: Name) -> set[Name]:
    """The definitions that one definition names, and what its module runs."""
    named = {target for target in _resolve(name).values() if isinstance(target, Name)}
    return {*named, Name(name.module, "")}


@cache
def _resolve(name: Name) -> dict[str, Name | str]:
    return _targets(_read_definition(name), name.module)


@cache
def _digest_with_uses(name: Name) -> str:
    """Of a definition and of those that its names mean, so that a name that means another definition is seen."""
    meant = []
    for local, target in sorted(_resolve(name).items()):
        if isinstance(target, Name):
            target = _digest_alone(target) if _counts(target) else target.name
        meant.append(f"{local} {target}")
    return digest_text("\n".join([_digest_alone(name), *meant]))


@cache
def _digest_alone(name: Name) -> str:
    return digest_text(_read_definition(name).text)


def _chain_of(node: ast.expr) -> str:
    """``a.b.c`` where a node is that and nothing else; else ""."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")


def _require(name: str) -> Name:
    module, _, qualified = name.partition(":")
    if (found := _find(module, qualified.partition(".")[0])) is None:
        raise SpecError(f"paribus has no {name}, whose source is part of the identity of a run")
    return found
