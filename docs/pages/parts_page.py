"""docs/parts.md: what can be put where, read from the docstrings of the package."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import paribus.nn
from paribus.design.markup import escape
from paribus.nn import Part, discover_parts
from paribus.nn.discovery import Labels, read_labels

PAGE = "docs/parts.md"
UNTESTED = "none tested"

_OPENING = f"""
    Written by `make pages` from the docstrings of the package, and not edited by hand. `paribus parts` prints the first
    table. A class of your own needs no entry anywhere: name it in a spec.

    *Parity* names the public implementation that a test in `tests/nn` or `tests/training` holds the part equal to, from
    equal weights; "{UNTESTED}": no public counterpart is tested.

    Axes: B batch, T time, D model width, H query heads, G key/value heads, K head width, F hidden width, E experts,
    A active experts, N tokens, V vocabulary, L layers, R latent rank.
"""


@dataclass(frozen=True)
class Section:
    """What is no part of a slot but can be named in a spec.

    Args:
        use: where its name goes.
        modules: where it is looked for.
        belongs: whether a public class or function of these modules is one.
    """

    title: str
    use: str
    modules: tuple[str, ...]
    belongs: Callable[[Any], bool]


def list_sections() -> tuple[Section, ...]:
    """In the order of the page."""
    nn = [f"paribus.nn.{module.name}" for module in iter_modules(paribus.nn.__path__)]
    recipes = tuple(name for name in nn if name.endswith("recipes"))
    slotted = tuple(name for name in nn if hasattr(import_module(name), "SLOT") and name != "paribus.nn.mlp")
    functions = "A router's score, a norm's order of rounding, a rotation's pairing and the like, passed by name."
    whole = "Functions that return a spec, such as `pb.nn.llama(d_model=96, ...)`. Edit the result with `replace`."
    optimizers = "The argument `optimizer` of Training. Any class of `torch.optim` can be named too."
    return (
        Section("Whole models", whole, recipes, _returns_a_spec),
        Section("Activations", "The argument `activation` of an MLP.", ("paribus.nn.mlp",), _maps_one_tensor),
        Section("Functions that a part is given", functions, slotted, _is_public_function),
        Section("RoPE scalings", "The argument `scaling` of RoPE.", ("paribus.nn.rope_scaling",), _has("rescale")),
        Section("Experts", "The argument `experts` of MoE.", ("paribus.nn.experts",), _has("forward")),
        Section("Balance losses", "The argument `losses` of MoE.", ("paribus.nn.router_losses",), _has("__call__")),
        Section("Optimizers", optimizers, ("paribus.training.optim",), _takes("roles")),
        Section("Schedules", "The argument `schedule` of Training.", ("paribus.training.schedule",), _has("__call__")),
        Section("Tokenizers", "The argument `tokenizer` of Text.", ("paribus.data.tokenizer",), _has("fit")),
    )


def list_members(section: Section) -> list[Any]:
    """The public classes or functions of a section, by name."""
    found = {}
    for module in section.modules:
        for name, thing in vars(import_module(module)).items():
            is_own = getattr(thing, "__module__", "") == module and not name.startswith("_")
            if is_own and section.belongs(thing):
                found[name] = thing
    return [found[name] for name in sorted(found)]


def compose_parts() -> dict[str, bytes]:
    """The page by its path in the repository."""
    return {PAGE: ("\n".join(_write_page()).rstrip() + "\n").encode()}


def _returns_a_spec(thing: Any) -> bool:
    return inspect.isfunction(thing) and inspect.get_annotations(thing).get("return") == "Spec"


def _is_public_function(thing: Any) -> bool:
    return inspect.isfunction(thing) and thing.__name__ in paribus.nn.__all__


def _maps_one_tensor(thing: Any) -> bool:
    return inspect.isfunction(thing) and inspect.get_annotations(thing) == {"x": "Tensor", "return": "Tensor"}


def _has(method: str) -> Callable[[Any], bool]:
    """Classes with a method, but for those that are a step of another: an nn.Module says its source."""

    def belongs(thing: Any) -> bool:
        is_one = inspect.isclass(thing) and method in vars(thing)
        return is_one and (method != "forward" or bool(read_labels(thing).source))

    return belongs


def _takes(argument: str) -> Callable[[Any], bool]:
    """Classes whose constructor has an argument."""
    return lambda thing: inspect.isclass(thing) and argument in inspect.signature(thing).parameters


def _write_page() -> Iterator[str]:
    yield from ("# What can be put where", "")
    for paragraph in _OPENING.strip().split("\n\n"):
        yield from (" ".join(paragraph.split()), "")
    yield from ("## Parts of a model", "")
    rows = [(f"`{part.name}`", part.slot, *_write_labels(part)) for part in discover_parts()]
    yield from (*_write_table(("name", "slot", "formula", "source", "parity"), rows), "")
    for section in list_sections():
        yield from (f"## {section.title}", "", section.use, "")
        rows = [(f"`{thing.__name__}`", *_write_labels(read_labels(thing))) for thing in list_members(section)]
        yield from (*_write_table(("name", "what it is", "source", "parity"), rows), "")


def _write_labels(said: Part | Labels) -> tuple[str, str, str]:
    """Formula, source and parity as cells; a formula stands as code, a sentence as words."""
    formula = said.formula.replace("``", "")
    if formula.endswith(".") and len(formula.split()) > 4:
        formula = escape(formula)
    else:
        formula = "`{}`".format(formula.rstrip(".").replace("|", r"\|"))
    return formula, _write_source(said.source), escape(said.parity.replace("``", "").rstrip(".")) or UNTESTED


def _write_source(source: str) -> str:
    """With its arXiv numbers as links."""
    said = escape(source.replace("``", "").rstrip(".")) or "none"
    return re.sub(r"arXiv[: ](\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", said)


def _write_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(row)} |"
