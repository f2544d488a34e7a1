"""Which runs a study asks for: their identity, their pairs, their order."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from paribus.design.metrics import Metric
from paribus.design.specs import Spec, reference
from paribus.design.study import Arm
from paribus.store.notebook_source import digest_source, follow_typed

# The files of paribus whose source can change what a run computes.
_KNOWN = {"paribus", "torch", "builtins"}  # covered by their own source, or by the version of PyTorch

_OWN_SOURCE = ("design/specs.py", "design/streams.py", "nn", "data", "training", "execution/single_run.py")


def source_identity(arm: Arm) -> dict[str, Any]:
    """Digests of all source that can change a run of ``arm``: paribus's and the user's; versions of other packages.

    Raises SpecError for a class whose source cannot be read.
    """
    specs = [arm.model, arm.training.optimizer, *filter(None, [arm.training.schedule])]
    things = [thing for spec in specs for node in (spec, *spec.sites().values()) for thing in _things(node)]
    return {"paribus_source": _own_source(), **_identify_things(things)}


def identify_metric(metric: Metric) -> dict[str, Any]:
    """What a metric of the user's own adds to a run's identity: its key, its function and all source behind that.

    Raises SpecError for a function whose source cannot be read.
    """
    if metric.measure is None:
        return {}
    function = {"key": metric.key, "function": reference(metric.measure)}
    return {"metric": {**function, **_identify_things([metric.measure])}}


def _identify_things(things: Sequence[Any]) -> dict[str, Any]:
    """The user's source behind classes and functions, and the versions of packages they come from."""
    nowhere = [t for t in things if _top(t) not in _KNOWN and not (_file_of(t.__module__) or _file_of(_top(t)))]
    typed, imported = follow_typed({reference(thing): thing for thing in nowhere})
    files = _user_files({thing.__module__ for thing in things} | imported)
    return {
        "user_source": {
            **{f"{f.parent.name}/{f.name}": digest_source(f.read_text()) for f in sorted(files)},
            **typed,
        },
        "installed": {top: _version_of(top) for top in sorted({_top(thing) for thing in things} - _KNOWN)},
    }


@lru_cache(maxsize=1)
def _own_source() -> str:
    root, content = Path(__file__).parents[1], hashlib.sha256()
    for name in _OWN_SOURCE:
        files = sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
        for file in files:
            content.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return content.hexdigest()


def _user_files(modules: set[str]) -> set[Path]:
    """The files of ``modules`` that belong to no installed package, and of the user's modules they import."""
    found: set[Path] = set()
    todo = set(modules)
    while todo:
        name = todo.pop()
        file = _file_of(name)
        if file is not None and file not in found and _is_users(file):
            found.add(file)
            todo |= _imports(file, name)
    return found


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


def _things(node: Spec) -> list[Any]:
    return [node.cls, *(value for _, value in node.arguments if hasattr(value, "__qualname__"))]


def _top(thing: Any) -> str:
    return thing.__module__.partition(".")[0]


def _is_users(file: Path) -> bool:
    """Whether a file is no part of an installation; a built-in study counts as a user's file."""
    own = Path(__file__).parents[1]
    if own in file.parents:
        return own / "studies" in file.parents
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return not installed and Path(json.__file__).parent.parent not in file.parents


def _imports(file: Path, module: str) -> set[str]:
    """Names of modules that ``file`` may import, packages on the way included; the standard library's are left out."""
    package = (getattr(sys.modules.get(module), "__package__", None) or module.rpartition(".")[0]).split(".")
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join(filter(None, [*above, node.module or ""]))
            names |= {home, *(f"{home}.{alias.name}".strip(".") for alias in node.names)}
    parts = [name.split(".") for name in names if name]
    parts = [part for part in parts if part[0] not in sys.stdlib_module_names | _KNOWN]
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
