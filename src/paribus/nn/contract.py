"""From specs to modules: every part under the random stream of its own path.

A composite part takes the specs of its sites as arguments and calls :func:`build` for each in its
constructor, so that the module tree has the paths of the spec tree. What the composite knows and its
parts may want is the legend: ``d_model, n_heads, head_dim, n_layers, layer, vocab_size, seq_len, position,
dropout, init_std, out_std, tokens``. It is handed on by name to everything below, so that a part swapped in by a
study starts at the same scale and drops out at the same rate as the part it replaces.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.design.streams import derive
from paribus.errors import MissingArgument, SpecError
from paribus.nn.noise import seeded
from paribus.nn.slots import SLOTS
from paribus.nn.torch_defaults import WatchDraws, draw_as_model

ROLES = ("embedding", "head", "norm", "matrix", "vector")


def build_model(spec: Spec, seed: int, *, vocab_size: int, seq_len: int, device: Any = "cpu") -> nn.Module:
    """Return the model of ``spec`` with the initial weights of ``seed``.

    Weights are drawn on the CPU and moved, so that they are the same on every device; two models share
    every weight of equal path and shape to the bit. On "meta" nothing is drawn or allocated.
    Raises SpecError where the spec lacks an argument or was made for other data.
    """
    given = dict(spec.arguments)
    for name, value in {"vocab_size": vocab_size, "seq_len": seq_len}.items():
        if given.get(name) not in (None, value):
            raise SpecError(
                f"tokenizer mismatch: the model has {name} {given[name]}, the data have {value}; "
                f"leave {name} out of the spec and it is taken from the data [site model]"
            )
    device = torch.device(device)
    legend = {"vocab_size": vocab_size, "seq_len": seq_len}
    with torch.device("meta" if device.type == "meta" else "cpu"):
        model = build_at(spec, "", seed, slot="model", **legend)
    return model.to(device)


def build(site: Spec, name: str, *width: int, slot: str | None = None, **legend: Any) -> Any:
    """Return the part that ``site`` describes; for use in the constructor of the part that owns it.

    ``width`` fills the first required positional arguments that the spec leaves open, whatever they are
    called; ``legend`` and what the owners above handed down fill arguments of the same name.
    ``name`` is the attribute the part will have, dots allowed (``"blocks.0"``).
    Raises SpecError for an argument that is still missing.
    """
    return _build(site, _PLACE.get().below(name, legend), width, slot)


def build_at(site: Spec, path: str, seed: int | None, *width: int, slot: str | None = None, **legend: Any) -> Any:
    """Return the part of ``site`` as if it stood at ``path`` of a model with ``seed``."""
    return _build(site, _Place(path, seed, legend), width, slot)


def roles(model: nn.Module) -> dict[str, str]:
    """The optimizer's role of every parameter: embedding, head, norm, matrix or vector.

    From the site (everything in a norm slot is "norm"), else from the shape: two or more dimensions are
    a "matrix". A class may say otherwise in a method ``roles()``, which maps its own parameter paths.
    A tensor shared by two modules has one entry.
    """
    parameters = dict(model.named_parameters())
    found = {name: "matrix" if p.ndim >= 2 else "vector" for name, p in parameters.items()}
    modules: list[tuple[str, Any]] = list(model.named_modules())
    for path, module in modules:
        slot = SLOTS.get(getattr(module, "paribus_slot", ""))
        if slot and slot.role:
            found.update((name, slot.role) for name in found if name.startswith(f"{path}." if path else ""))
        elif isinstance(module, nn.Embedding) and (name := _join(path, "weight")) in found:
            found[name] = "embedding"
    for path, module in reversed(modules):  # the outer class knows more
        declared = module.roles() if callable(getattr(module, "roles", None)) else {}
        for own, role in declared.items():
            name = _join(path, own)
            if role not in ROLES:
                raise SpecError(f"roles() says {role!r} for {name!r}; expected one of {', '.join(ROLES)}")
            if name in found:
                found[name] = role
    return found


def reset_at(part: Any, path: str, seed: int | None) -> None:
    """Draw the initial weights of ``part`` again, as if it stood at ``path`` of a model with ``seed``."""
    with _entered(_Place(path, seed)):
        part.reset_parameters()


@contextmanager
def stream(name: str) -> Iterator[None]:
    """Draw from the initial-weight stream of the child ``name`` of the part being built.

    Where nothing is being built (a part made by hand), nothing is seeded.
    """
    with _entered(_PLACE.get().below(name, {})):
        yield


def here() -> str:
    """``" [site blocks.0.mixer]"`` while that site is built, for the end of an error message."""
    path = _PLACE.get().path
    return f" [site {path}]" if path else ""


def require_positive(**sizes: int) -> None:
    """Raise SpecError for a size below 1: it would leave a part without width."""
    for name, size in sizes.items():
        if size < 1:
            raise SpecError(f"{name} must be at least 1, got {size}{here()}")


class TokenIds:
    """The ids (B, T) that a model is reading: owned and set by it, handed to its parts under the name ``tokens``.

    A copy of a model has ids of its own, which are unset until it runs.
    """

    def __init__(self) -> None:
        self._ids: Tensor | None = None

    @property
    def ids(self) -> Tensor:
        if self._ids is None:
            raise SpecError("no token ids are set: the model that hands down tokens sets tokens.ids in its forward")
        return self._ids

    @ids.setter
    def ids(self, ids: Tensor) -> None:
        self._ids = ids

    def __getstate__(self) -> dict[str, Any]:
        return {"_ids": None}


@dataclass(frozen=True)
class _Place:
    """Where the part under construction stands, and what its owners handed down to it."""

    path: str = ""
    seed: int | None = None
    legend: dict[str, Any] = field(default_factory=dict)

    def below(self, name: str, legend: dict[str, Any]) -> _Place:
        return _Place(_join(self.path, name), self.seed, {**self.legend, **legend})


_HINTS = {"tokens": "; a model that owns a TokenIds and sets its ids in forward can build it with tokens=..."}

_DRAWS: ContextVar[WatchDraws | None] = ContextVar("paribus_draws", default=None)

_PLACE: ContextVar[_Place] = ContextVar("paribus_place", default=_Place())  # noqa: B039 (never mutated)


def _build(site: Spec, place: _Place, width: tuple[int, ...], slot: str | None) -> Any:
    if _DRAWS.get() is None and torch.get_default_device().type != "meta":
        with WatchDraws() as draws:
            token = _DRAWS.set(draws)
            try:
                return _build(site, place, width, slot)
            finally:
                _DRAWS.reset(token)
    where = f"[site {place.path or 'model'}]"
    if not isinstance(site, Spec):
        raise SpecError(f"expected a spec, got {site!r}; write spec({getattr(site, '__name__', 'Class')}, ...) {where}")
    if slot == "mixer" and issubclass(site.cls, nn.MultiheadAttention):
        raise SpecError(
            "nn.MultiheadAttention is no mixer: it takes three inputs, returns a tuple, has no mask of its own and "
            f"cannot be reset; use paribus.nn.Attention, or wrap it in a class whose forward takes (B, T, D) {where}"
        )
    arguments = _bind(site, width, place.legend, where)
    try:
        with _entered(place):
            part = site.cls(**arguments)
        if callable(getattr(part, "reset_parameters", None)) and torch.get_default_device().type != "meta":
            with _entered(place):  # from the start of the stream, however much the constructor drew
                part.reset_parameters()
    except Exception as error:
        if not isinstance(error, SpecError):
            error.add_note(f"while building {site.cls.__name__} {where}")
        raise
    if slot is not None:
        if not isinstance(part, nn.Module):
            raise SpecError(f"a {slot} is an nn.Module, {site.cls.__name__} is not {where}")
        part.paribus_slot = slot  # type: ignore[assignment]  # nn.Module lists no attributes
    if isinstance(part, nn.Module) and (draws := _DRAWS.get()):
        part.paribus_torch_defaults = draws.defaults(part)  # type: ignore[assignment]
        if site.initialized:
            _draw_defaults(part, place)
    return part


def _draw_defaults(part: nn.Module, place: _Place) -> None:
    """Draw what torch drew in ``part`` as the model's parts are drawn, each layer in the stream of its path."""
    std = place.legend.get("init_std")
    for name in part.paribus_torch_defaults:  # type: ignore[union-attr]
        with _entered(place.below(name.rpartition(".")[0], {}) if "." in name else place):
            draw_as_model(part.get_parameter(name), 0.02 if std is None else std)
    part.paribus_torch_defaults = ()  # type: ignore[assignment]


def _bind(site: Spec, width: tuple[int, ...], legend: dict[str, Any], where: str) -> dict[str, Any]:
    """The spec's arguments, then the widths, then what the legend has under a parameter's name."""
    bound = dict(site.arguments)
    parameters = inspect.signature(site.cls).parameters.values()
    widths, missing = list(width), []
    for p in parameters:
        fills = p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
        if fills and widths and (p.name == "d_model" or p.name not in legend):
            if p.name not in bound:
                bound[p.name] = widths.pop(0)
            elif bound[p.name] == widths[0]:
                widths.pop(0)  # the spec states the width itself
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in bound:
            continue
        if p.name in legend:
            bound[p.name] = legend[p.name]
        elif p.default is p.empty:
            missing.append(p.name)
        elif isinstance(p.default, nn.Module) and any(True for _ in p.default.parameters()):
            raise SpecError(
                f"{site.cls.__name__}: the default of {p.name!r} is one {type(p.default).__name__} with weights, which "
                f"every site and every run would share; make it None and build it in the constructor {where}"
            )
    if missing:
        named = ", ".join(map(repr, missing))
        hints = "".join(_HINTS.get(name, "") for name in missing)
        raise MissingArgument(
            f"{site.cls.__name__} needs {named}: its spec does not bind {'it' if len(missing) == 1 else 'them'}, and "
            f"the model hands down {', '.join(sorted(legend)) or 'nothing'}{hints} {where}",
            site.cls,
            tuple(missing),
        )
    return bound


@contextmanager
def _entered(place: _Place) -> Iterator[None]:
    token = _PLACE.set(place)
    try:
        if place.seed is None:
            yield
        else:
            with seeded(derive(place.seed, "init", place.path)):
                yield
    finally:
        _PLACE.reset(token)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
