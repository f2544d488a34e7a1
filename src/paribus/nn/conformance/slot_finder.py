"""Which slot a class is made for, told by what it does: what it reads, whether tokens meet, where its weights are."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import Tensor

from paribus.design.specs import Spec
from paribus.errors import ParibusError, PartError, SpecError
from paribus.nn.conformance.subjects import SUBJECTS, Subject
from paribus.nn.conformance.suite import EXACT, describe_failure, how_far
from paribus.nn.contract import build_model
from paribus.nn.position import Position
from paribus.nn.precision import float64_arithmetic
from paribus.nn.slots import SLOTS, parts_of

KEEP_SHAPE = tuple(name for name, slot in SLOTS.items() if slot.keeps_shape)

_READS = {"model": "reads token ids and returns logits", "router": "returns a Routing"}
_LOUD = 1e3  # times an input: what normalises its input says no more of it, what adds it says little else
_GROWS = 2.0  # times its size, from which an output grows with a loud input
_ADDED, _PERHAPS_ADDED = 0.99, 0.5  # correlation of output and loud input


@dataclass(frozen=True)
class Fitting:
    """Where a class fits.

    Args:
        slots: those it is made for by what it does: one, or several between which behaviour does not decide.
        why: what it does, as the end of a sentence that begins with its name.
        runs: every slot in which it can be built and keeps the shape.
    """

    slots: tuple[str, ...]
    why: str
    runs: tuple[str, ...]


def find_slots(site: Spec) -> Fitting:
    """Try the class of ``site`` as a part that reads token ids, router logits and features, and look at what it does.

    Raises MissingArgument where the class needs more than its slot gives, and PartError for a class that fits no slot,
    with the reason of the likeliest.
    """
    named = inspect.signature(site.cls).parameters
    if issubclass(site.cls, Position):
        return Fitting(("position",), "is a Position", ("position",))
    likeliest = "model" if "vocab_size" in named else "router" if "n_experts" in named else "mixer"
    refused: dict[str, ParibusError] = {}
    for slot in dict.fromkeys((likeliest, "mixer", "model", "router")):
        try:
            _try(site, slot)
        except ParibusError as error:
            refused[slot] = error
            continue
        if slot == "mixer":
            slots, why = _tell_apart(SUBJECTS["mixer"](site))
            return Fitting(slots, why, KEEP_SHAPE)
        if slot == "model":
            build_model(site, 0, vocab_size=2, seq_len=2, device="meta")  # the suite hands down more than a study does
        return Fitting((slot,), _READS[slot], (slot,))
    reason = refused[likeliest]
    if isinstance(reason, SpecError):
        raise reason
    places = " or ".join((", ".join(KEEP_SHAPE[:-1]), KEEP_SHAPE[-1])) if likeliest == "mixer" else likeliest
    raise PartError(f"{site.cls.__name__} does not fit as {places}: {reason}{_default_width(site)}")


def _try(site: Spec, slot: str) -> None:
    """Raise PartError, with the reason alone, where the part does not run there or returns another shape."""
    subject = SUBJECTS[slot](site)
    try:
        subject.make()
    except ParibusError:
        raise
    except Exception as error:  # the class's own code, which may not be made for this slot
        given = ", ".join(f"{name}={value!r}" for name, value in site.arguments)
        said = f"its constructor fails{f' with {given}' if given else ''}: {describe_failure(error)}"
        raise PartError(f"{said}{_unnamed_width(site)}") from error
    x = subject.input()
    shape = tuple(x.shape)
    try:
        with float64_arithmetic():
            y = subject.random()(x)
    except ParibusError:
        raise
    except Exception as error:
        raise PartError(f"{describe_failure(error)}, given {shape}") from error
    if not isinstance(y, Tensor):
        raise PartError(f"forward returns a {type(y).__name__}, expected one tensor")
    if tuple(y.shape) != subject.out_shape:
        raise PartError(f"{shape} came out as {tuple(y.shape)}, expected {subject.out_shape}")


def _tell_apart(subject: Subject) -> tuple[tuple[str, ...], str]:
    """The slots, among those of one shape, that the part behaves like, and how."""
    with float64_arithmetic(), torch.no_grad():
        part, x, other = subject.random(), subject.input(2), subject.input(3)
        if (drift := how_far(part, x, x).max().item()) > 0:
            raise PartError(
                f"{type(part).__name__}: two calls with one input and one seed differ by {drift:.1e}; draw from "
                "torch's generator alone"
            )
        place = x.shape[1] // 3  # not the middle, which stays where it is when time is reversed
        changed = x.clone()
        changed[:, place] = other[:, place]
        elsewhere = how_far(part, x, changed).amax((0, 2))  # (T,)
        elsewhere[place] = 0
        meet = elsewhere.max().item() > EXACT
        quiet, loud = part.eval()(x), part(_LOUD * x)
    grows = _size(loud) > _GROWS * _size(quiet)
    owned = sorted({child.paribus_slot for path, child in parts_of(part).items() if path})
    if "mixer" in owned or "mlp" in owned:
        return ("block",), f"is built of parts that stand in slots ({', '.join(owned)})"
    has_matrix = any(p.ndim >= 2 and min(p.shape) > 1 for p in part.parameters())
    along = _correlation(loud, x)
    if meet and along > _ADDED and grows:
        return ("block",), "lets tokens meet and adds its input to its output"
    if meet and along > _PERHAPS_ADDED:
        slots = ("mixer", "block") if has_matrix or grows else ("norm", "mixer", "block")
        return slots, f"lets tokens meet, and its output is much like its input (correlation {along:.2f})"
    if meet:
        return ("mixer",), "lets tokens meet"
    if has_matrix:
        kind = "changes each token alone, through matrices"
        return (("mlp",), kind) if grows else (("norm", "mlp"), f"{kind}, and does not grow with its input")
    if any(True for _ in part.parameters()):
        return ("norm",), "changes each token alone and has no matrix"
    if not grows:
        return ("norm",), "changes each token alone and does not grow with its input"
    return ("norm", "mlp"), "changes each token alone, has no weights and grows with its input"


def _unnamed_width(site: Spec) -> str:
    """A hint where the constructor has no name by which it could be handed a width."""
    parameters = inspect.signature(site.cls).parameters.values()
    if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        named = ", ".join(str(p).partition(":")[0] for p in parameters)
        return f"; it names no arguments ({named}), and so is handed none: name them, such as __init__(self, dim)"
    return ""


def _default_width(site: Spec) -> str:
    """A hint where the width's place is taken by a default, which no site replaces."""
    first = next(iter(inspect.signature(site.cls).parameters.values()), None)
    if first is not None and type(first.default) is int and first.name not in dict(site.arguments):
        return f"; {first.name!r} has the default {first.default} and is not given the width: drop the default"
    return ""


def _correlation(a: Tensor, b: Tensor) -> float:
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def _size(x: Tensor) -> float:
    return x.square().mean().sqrt().item()
