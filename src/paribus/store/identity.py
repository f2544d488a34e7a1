"""What names a run: the source that it uses, ours as the user's, and the packages that it comes from."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from paribus.design.digests import digest_text
from paribus.design.metrics import Metric
from paribus.design.specs import reference
from paribus.design.study import Arm
from paribus.store.notebook_source import follow_typed
from paribus.store.own_source import Syntax, digest_own, is_own, names_in, names_own, read_syntax

_EVERY_RUN = ("paribus.execution.trained:train_arm", "paribus.data:Corpus")
_KNOWN = {"paribus", "torch", "builtins"}  # covered by their own source, or by the version of PyTorch


def source_identity(arm: Arm) -> dict[str, Any]:
    """Digests of all source that can change a run of ``arm``; a comment, a docstring and a file's place cannot.

    ``paribus_source``: what trains any arm. ``paribus_parts``: by public name what the arm's specs name of paribus,
    and by module what source of the user's names of it; each with all that it uses in turn. ``user_source``: the user's
    modules. ``installed``: versions of other packages.
    Raises SpecError for a class whose source cannot be read.
    """
    specs = [arm.model, arm.training.optimizer, *filter(None, [arm.training.schedule])]
    things = [thing for spec in specs for node in (spec, *spec.sites().values()) for thing in _things(node.arguments)]
    things += [node.cls for spec in specs for node in (spec, *spec.sites().values())]
    return {"paribus_source": _digest_own(_EVERY_RUN), **_identify_things(things)}


def identify_metric(metric: Metric) -> dict[str, Any]:
    """What a metric of the user's own adds to a run's identity: its key, its function and all source behind that.

    Raises SpecError for a function whose source cannot be read.
    """
    if metric.measure is None:
        return {}
    function = {"key": metric.key, "function": reference(metric.measure)}
    return {"metric": {**function, **_identify_things([metric.measure])}}


def _identify_things(things: Sequence[Any]) -> dict[str, Any]:
    """The source behind classes and functions, and the versions of packages they come from."""
    own = {reference(thing) for thing in things if is_own(thing.__module__)}
    nowhere = [t for t in things if _top(t) not in _KNOWN and not (_file_of(t.__module__) or _file_of(_top(t)))]
    typed, imported = follow_typed({reference(thing): thing for thing in nowhere})
    read = _read_users({thing.__module__ for thing in things} | imported)
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in own}
    parts |= {module: tuple(sorted(names_own(syntax))) for module, syntax in read.items()}
    parts |= {module: tuple(sorted(names_in([module]))) for module in imported}
    return {
        "paribus_parts": {name: digest for name, used in sorted(parts.items()) if (digest := _digest_own(used))},
        "user_source": {**{module: digest_text(syntax.text) for module, syntax in sorted(read.items())}, **typed},
        "installed": {top: _version_of(top) for top in sorted({_top(thing) for thing in things} - _KNOWN)},
    }


_digest_own = cache(digest_own)  # once a process: what it has imported does not change any more


def _read_users(modules: set[str]) -> dict[str, Syntax]:
    """The source of ``modules`` that belong to no installed package, and of the user's modules they import."""
    found: dict[str, Syntax] = {}
    files: set[Path] = set()
    todo = set(modules)
    while todo:
        name = min(todo)
        todo.remove(name)
        file = _file_of(name)
        if file is not None and file not in files and _is_users(file):
            files.add(file)
            found[name] = _read_source(file.read_text())
            todo |= _imports(found[name], name)
    return found


@lru_cache(maxsize=256)
def _read_source(source: str) -> Syntax:
    """Of all but the ``study`` itself, which may change without a new run."""
    return read_syntax(node for node in ast.parse(source).body if not _assigns_study(node))


def _assigns_study(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id in ("study", "scales") for target in targets)


def _file_of(module: str) -> Path | None:
    """The ``.py`` file of a module, imported or not; None for another kind of module, and for none."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None  # the name of a class, not of a module
        file = found.origin if found else None
    return Path(file) if file and file.endswith(".py") else None


def _things(value: Any) -> list[Any]:
    """The classes and functions in the arguments of a spec."""
    if isinstance(value, tuple):
        return [thing for item in value for thing in _things(item)]
    return [value] if hasattr(value, "__qualname__") else []


def _top(thing: Any) -> str:
    return thing.__module__.partition(".")[0]


def _is_users(file: Path) -> bool:
    """Whether a file is no part of an installation; a built-in study counts as a user's file."""
    own = Path(__file__).parents[1]
    if own in file.parents:
        return own / "studies" in file.parents
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return not installed and Path(json.__file__).parent.parent not in file.parents


def _imports(syntax: Syntax, module: str) -> set[str]:
    """Names of modules that source may import, packages on the way included; the standard library's are left out."""
    package = (getattr(sys.modules.get(module), "__package__", None) or module.rpartition(".")[0]).split(".")
    names: set[str] = set()
    for _, level, origin, name in syntax.imports:
        above = package[: len(package) - level + 1] if level else []
        home = ".".join(filter(None, [*above, origin]))
        names |= {home, f"{home}.{name}".strip(".")}
    parts = [name.split(".") for name in names if name]
    parts = [
        part for part in parts if part[0] not in {*sys.stdlib_module_names, "torch"} and not is_own(".".join(part))
    ]
    return {".".join(part[:i]) for part in parts for i in range(1, len(part) + 1)}


def _version_of(top: str) -> str:
    """Version of the package a class was imported from; empty for the user's own modules."""
    file = _file_of(top)
    if file is None or _is_users(file):
        return ""
    return str(getattr(sys.modules.get(top), "__version__", "")) or _version_of_distribution(top)


@lru_cache(maxsize=64)
def _version_of_distribution(top: str) -> str:
    """What the installed package that ``top`` belongs to says of itself, for modules that do not say."""
    return ", ".join(sorted({version(name) for name in packages_distributions().get(top, ())}))
