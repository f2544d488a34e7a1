"""A spec: a class and its arguments, as frozen data.

A spec can be compared, edited by path, hashed, written to JSON and, in :mod:`paribus.nn`, built.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import Any

from paribus.design.digests import digest_json
from paribus.design.trees import Tree
from paribus.design.wording import suggest
from paribus.errors import SpecError

_SCALARS = (type(None), bool, int, float, str)


def spec(cls: type, /, **arguments: Any) -> Spec:
    """Return the spec of ``cls`` with ``arguments``, checked against the real signature.

    Raises SpecError for an argument the class does not take (with the nearest name it does take)
    and for a value that is not None, a bool, int, float, str, class, function, Spec, or a list or
    tuple of these.
    """
    if not isinstance(cls, type):
        raise SpecError(f"spec() takes a class, got {cls!r}")
    parameters = _parameters(cls)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in arguments:
        if name not in parameters and not open_ended:
            raise SpecError(f"{cls.__name__} takes no argument {name!r}; {suggest(name, parameters)}")
    frozen = tuple((name, _freeze(value, f"{cls.__name__}.{name}")) for name, value in sorted(arguments.items()))
    return Spec(cls, frozen)


def initialized(part: Spec) -> Spec:
    """The spec of ``part`` whose initial weights are drawn as those of the model's own parts.

    Weights of its ``nn.Linear`` and ``nn.Embedding`` that torch drew by default come from N(0, init_std^2) instead,
    with the ``init_std`` of the model (0.02 where it hands none down), and biases that torch drew become 0. What the
    class initializes itself stays, by ``nn.init``, by assignment or in ``reset_parameters``, and so do parameters that
    are no weights of such a layer.

    Raises SpecError for anything but a spec.
    """
    if not isinstance(part, Spec):
        written = f"spec({part.__name__})" if isinstance(part, type) else "spec(Class, ...)"
        raise SpecError(f"initialized() takes a spec, got {part!r}; write initialized({written})")
    return replace(part, initialized=True)


@dataclass(frozen=True)
class Spec(Tree):
    """A class and the arguments that were given for it, in name order."""

    cls: type
    arguments: tuple[tuple[str, Any], ...] = ()
    initialized: bool = False

    @property
    def head(self) -> type:
        return self.cls

    @property
    def short_name(self) -> str:
        return self.cls.__name__

    def resolved(self) -> dict[str, Any]:
        """All arguments by name: those given, then the signature's defaults."""
        values = dict(self.arguments)
        for name, parameter in _parameters(self.cls).items():
            if name not in values and parameter.default is not parameter.empty:
                try:
                    values[name] = _freeze(parameter.default, name)
                except SpecError:
                    continue  # a default that is no data, such as a dtype, cannot differ between arms
        return dict(sorted(values.items()))

    def replace(self, pattern: str, value: Any) -> Spec:
        """Return this spec with ``value`` at every path that matches ``pattern``.

        ``*`` matches any text, dots included: ``"*norm"`` is every argument whose name ends in
        "norm", at any depth. A Spec as value replaces specs; it fills an argument that is None only
        where the pattern spells the argument's name in full (``"*.mixer.qk_norm"``).
        Raises SpecError when nothing matches, or when the class at a site takes no such argument.
        """
        value = _freeze(value, pattern)
        if isinstance(value, type):
            for path, node in self.walk():
                if path and isinstance(node, Spec) and fnmatchcase(path, pattern):
                    raise SpecError(
                        f"a spec stands at {path!r}, and {value.__name__} is a class; write spec({value.__name__})"
                    )
        matched = [path for path, node in self.walk() if path and self._is_target(path, node, pattern, value)]
        if not matched:
            kind = list(self.sites()) if isinstance(value, Spec) else self.paths()
            raise SpecError(f"pattern {pattern!r} matches no site of {self.cls.__name__}; {suggest(pattern, kind)}")
        edited = self
        for path in matched:
            # An edit above this path may have removed what stood here.
            if not any(path.startswith(other + ".") for other in matched):
                edited = _put(edited, path.split("."), value)
        return edited

    @property
    def digest(self) -> str:
        """SHA-256 over the class names and all arguments, defaults included."""
        return digest_json(_plain(self, resolve=True))

    def to_json(self) -> dict[str, Any]:
        """``{"class": "module:Name", "arguments": {...}}``, for ``json.dumps``; "initialized" where it is true."""
        plain: dict[str, Any] = _plain(self, resolve=False)
        return plain

    @staticmethod
    def from_json(data: dict[str, Any]) -> Spec:
        """The spec that ``to_json`` wrote. Imports the classes' modules; raises SpecError if it cannot."""
        value = _revive(data)
        if not isinstance(value, Spec):
            raise SpecError(f"expected the JSON of a spec, got {str(data)[:80]}")
        return value

    def _is_target(self, path: str, node: Any, pattern: str, value: Any) -> bool:
        if not fnmatchcase(path, pattern):
            return False
        spelled_out = not set("*?[") & set(pattern.rsplit(".", 1)[-1])
        if isinstance(value, Spec):
            return isinstance(node, Spec) or (node is None and spelled_out)
        return spelled_out or not isinstance(node, Spec | tuple)


def reference(thing: Any) -> str:
    """``module:qualified.name`` of a class or function, ``paribus.nn:RMSNorm`` for one that a room of paribus offers.

    Raises SpecError for a local one.
    """
    module, name = thing.__module__, thing.__qualname__
    if module is None:
        raise SpecError(f"{name!r} belongs to no module, so it cannot be named; wrap it in a function of your own")
    if "<" in name:
        raise SpecError(f"{name!r} has no name at the top level of its module; write it there as a class or with def")
    room = public_name(f"{module}:{name}").partition(":")[0]
    offers = getattr(sys.modules.get(room), "__all__", ())
    return f"{room}:{name}" if name in offers and getattr(sys.modules[room], name) is thing else f"{module}:{name}"


def public_name(name: str) -> str:
    """A name without the module inside a room of paribus: ``paribus.nn:RMSNorm`` for ``paribus.nn.norm:RMSNorm``.

    So names of an old store are those of today. A name of another package stays as it is.
    """
    module, _, qualified = name.partition(":")
    is_own = module.startswith("paribus.") and not module.startswith("paribus.studies.")
    return f"{'.'.join(module.split('.')[:2])}:{qualified}" if is_own else name


@lru_cache(maxsize=1024)
def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{cls.__name__} has no readable signature: {error}") from None
    return {name: p for name, p in signature.parameters.items() if p.kind is not p.VAR_POSITIONAL}


def _freeze(value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{where} is {value}; an argument must be finite")
    if isinstance(value, (*_SCALARS, Spec)):
        return value
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        reference(value)
        return value
    if isinstance(value, list | tuple):
        return tuple(_freeze(item, f"{where}.{index}") for index, item in enumerate(value))
    raise SpecError(
        f"{where} is a {type(value).__name__}; a spec holds None, bool, int, float, str, classes, functions, "
        "specs, and lists or tuples of these"
    )


def _plain(value: Any, resolve: bool) -> Any:
    if isinstance(value, Spec):
        arguments = value.resolved() if resolve else dict(value.arguments)
        plain = {"class": reference(value.cls), "arguments": {k: _plain(v, resolve) for k, v in arguments.items()}}
        return {**plain, "initialized": True} if value.initialized else plain
    if isinstance(value, tuple):
        return [_plain(item, resolve) for item in value]
    if isinstance(value, _SCALARS):
        return value
    return {"reference": reference(value)}


def _revive(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_revive(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "reference" in data:
        return resolve(data["reference"])
    try:
        revived = spec(resolve(data["class"]), **{name: _revive(item) for name, item in data["arguments"].items()})
        return replace(revived, initialized=data.get("initialized", False))
    except KeyError as error:
        raise SpecError(f"the JSON of a spec lacks {error}: {str(data)[:80]}") from None


def resolve(name: str) -> Any:
    """What ``reference`` named; its module is imported. Raises SpecError where it is not there."""
    module, _, qualified = name.partition(":")
    try:
        thing: Any = sys.modules.get(module) or importlib.import_module(module)
        for attribute in qualified.split("."):
            thing = getattr(thing, attribute)
    except (ImportError, AttributeError) as error:
        public = public_name(name)
        hint = f"; did you mean {public!r}?" if public != name else ""
        raise SpecError(f"cannot find {name!r}: {error}{hint}") from None
    return thing


def _put(node: Any, keys: list[str], value: Any) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, tuple):
        return tuple(_put(item, rest, value) if str(index) == key else item for index, item in enumerate(node))
    arguments = dict(node.arguments)
    edited = spec(node.cls, **{**arguments, key: _put(node.resolved().get(key), rest, value)})
    return replace(edited, initialized=node.initialized)
