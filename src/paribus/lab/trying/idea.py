"""Find the class that is meant by ``file.py:Class`` or ``package.module:Class``, and what kind of thing it is."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import keyword
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from paribus.design.metrics import Metric
from paribus.design.tracebacks import own_traceback
from paribus.design.wording import nearest, suggest
from paribus.errors import StudyError

KINDS = ("part", "optimizer", "schedule", "dataset", "metric")


@dataclass(frozen=True)
class Idea:
    """What a user has brought.

    Args:
        thing: a class, or a Metric.
        kind: one of ``KINDS``.
        module, name: where it is imported from.
        folder: where a study file that imports it may stand.
        reference: as the user wrote it.
    """

    thing: Any
    kind: str
    module: str
    name: str
    folder: Path
    reference: str


def read_idea(reference: str) -> Idea:
    """Import the file or module of ``reference`` and find the class or Metric in it.

    Raises StudyError for what is not there, with the nearest thing that is, for a file that fails, with its own
    traceback, and for a thing that no study can use.
    """
    place, colon, name = str(reference).replace("::", ":").rpartition(":")
    if not colon or not place or not name:
        raise StudyError(
            f"{reference!r} names no class; write file.py:Class, or package.module:Class{_suggestion(reference)}"
        )
    module, folder = _import_beside(Path(place).expanduser()) if place.endswith(".py") else _import_module(place)
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if _is_own(value, module)]
        hint = suggest(name, offered, otherwise=f"it defines {', '.join(offered) or 'no class'}")
        raise StudyError(f"{place} has no {name!r}; {hint}")
    thing = getattr(module, name)
    return Idea(thing, _kind_of(thing, name), module.__name__, name, folder, str(reference))


def _kind_of(thing: Any, name: str) -> str:
    import torch
    from torch import nn

    if isinstance(thing, Metric):
        return "metric"
    if not isinstance(thing, type):
        raise StudyError(f"{name!r} is {_describe(thing)}")
    if issubclass(thing, nn.Module):
        return "part"
    if issubclass(thing, torch.optim.Optimizer) or (hasattr(thing, "step") and hasattr(thing, "zero_grad")):
        return "optimizer"
    if hasattr(thing, "documents"):
        return "dataset"
    if "__call__" in vars(thing):
        _, *taken = _positional(thing.__call__)
        if len(taken) == 2:
            return "schedule"
        raise StudyError(
            f"{name!r} is no class that a study can use: its __call__ takes ({', '.join(taken)}), and a schedule's "
            "takes (step, steps) and returns the factor of the learning rate"
        )
    raise StudyError(
        f"{name!r} is no class that a study can use: a part is a torch.nn.Module, an optimizer a "
        "torch.optim.Optimizer, a schedule maps (step, steps) to a factor in __call__, a data set has vocab_size and "
        "documents(side)"
    )


def _positional(function: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]


def _describe(thing: Any) -> str:
    from torch import nn

    if isinstance(thing, nn.Module):
        return f"an instance; name its class, {type(thing).__name__}, and every site builds its own"
    if inspect.isfunction(thing) and len(_positional(thing)) == 2 and thing.__name__.isidentifier():
        return (
            "a function, expected a class; a metric is written "
            f'{thing.__name__}_metric = paribus.Metric("{thing.__name__}", "its unit", measure={thing.__name__})'
        )
    if inspect.isfunction(thing):
        return "a function, expected a class; a part is a torch.nn.Module with a forward"
    if inspect.ismodule(thing):
        return "a module, expected a class"
    return f"a {type(thing).__name__}, expected a class"


def _import_beside(path: Path) -> tuple[ModuleType, Path]:
    """Import a file as its folder's neighbours would: by its stem, with its folder on the module search path."""
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"; did you mean {path.parent / close}?" if close else ""
        raise StudyError(f"there is no file {path}{hint}")
    path = path.resolve()
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        better = "".join(c if c.isalnum() else "_" for c in path.stem)
        better = better if better.isidentifier() and not keyword.iskeyword(better) else f"my_{better}"
        raise StudyError(f"{path.name} cannot be imported under its name; call it {better}.py")
    _search_in(path.parent)
    known = Path(getattr(sys.modules.get(path.stem), "__file__", None) or "")
    if str(known.parent) in _searched:
        del sys.modules[path.stem]  # it may have been edited since, or be another folder's
    module = _import(path.stem, path)
    if Path(getattr(module, "__file__", None) or "") != path:
        raise StudyError(
            f"{path.name} cannot be imported: the name {path.stem!r} means {getattr(module, '__file__', 'a module')} "
            "here; give the file another name"
        )
    return module, path.parent


_searched: set[str] = set()
"""Folders of the ideas read so far, of which the last is on the module search path."""


def _search_in(folder: Path) -> None:
    for other in _searched - {str(folder)}:
        with contextlib.suppress(ValueError):
            sys.path.remove(other)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _searched.add(str(folder))
    importlib.invalidate_caches()


def _import_module(name: str) -> tuple[ModuleType, Path]:
    here = Path.cwd()
    _search_in(here)
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        hint = f"; a file is named with its ending: {name}.py:Class" if Path(f"{name}.py").is_file() else ""
        raise StudyError(f"there is no module {name!r}{hint}")
    return _import(name, Path(found.origin or "")), here


def _import(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SystemExit:
        raise StudyError(
            f'{path} exits when it is imported; put what it does as a script below if __name__ == "__main__":'
        ) from None
    except Exception as error:  # the user's own code
        hint = ""
        if isinstance(error, ImportError) and (path.parent / "__init__.py").is_file():
            hint = f"\nit lies in a package: from the folder above, name it {path.parent.name}.{path.stem}:CLASS"
        raise StudyError(f"{path} cannot be read:\n{own_traceback(error, path)}{hint}") from None


def _is_own(value: Any, module: ModuleType) -> bool:
    return isinstance(value, Metric) or (isinstance(value, type) and value.__module__ == module.__name__)


def _suggestion(reference: str) -> str:
    if not str(reference).endswith(".py") or not Path(reference).is_file():
        return ""
    module, _ = _import_beside(Path(reference))
    offered = [key for key, value in vars(module).items() if _is_own(value, module)]
    return f"; it defines {', '.join(offered)}" if offered else "; it defines no class"
