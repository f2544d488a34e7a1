"""Which slot a class is made for, told by what it does: what it reads, whether tokens meet, where its weights are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paribus.errors import MissingArgument, ParibusError
from paribus.nn.checks import EXACT, SUBJECTS, Subject, how_far
from paribus.nn.contract import build_model
from paribus.nn.position import Position
from paribus.nn.precision import float64_arithmetic
from paribus.specs import Spec

SHAPED_ALIKE = ("norm", "mlp", "mixer", "block")
"""The slots of parts (B, T, D) -> (B, T, D)."""

_LOUD = 1e3  # times an input: what normalises its input says no more of it, what adds it says little else
_ALONG = 0.99  # correlation of output and loud input from which the input counts as added


@dataclass(frozen=True)
class Fitting:
    """Where a class fits.

    Args:
        slots: those it is made for by what it does: one, several between which behaviour does not decide, or none.
        why: what it does, as the end of a sentence that begins with its name; "" where it fits nowhere.
        runs: every slot in which it can be built and keeps the shape.
        refused: slots, joined by commas, to why it does not run there.
    """

    slots: tuple[str, ...]
    why: str
    runs: tuple[str, ...]
    refused: Mapping[str, str]


def find_slots(site: Spec) -> Fitting:
    """Try the class of ``site`` as a part that reads token ids, router logits and features, and look at what it does.

    Raises MissingArgument where the class needs more than any slot gives.
    """
    if issubclass(site.cls, Position):
        return Fitting(("position",), "is a Position", ("position",), {})
    refused, missing = {}, {}
    for slot in ("mixer", "model", "router"):
        try:
            error = _try(SUBJECTS[slot](site))
        except MissingArgument as lacking:
            missing[slot], error = lacking, str(lacking)
        if error:
            refused[slot] = error
    if "model" not in refused:
        build_model(site, 0, vocab_size=2, seq_len=2, device="meta")  # the suite hands down more than a study does
        return Fitting(("model",), "reads token ids and returns logits", ("model",), {})
    if "router" not in refused:
        return Fitting(("router",), "returns a Routing", ("router",), {})
    if "mixer" not in refused:
        slots, why = _tell_apart(SUBJECTS["mixer"](site))
        return Fitting(slots, why, SHAPED_ALIKE, {})
    asked = "model" if "vocab_size" in inspect.signature(site.cls).parameters else "mixer"
    if asked in missing and missing[asked].cls is site.cls:
        raise missing[asked]
    return Fitting((), "", (), {", ".join(SHAPED_ALIKE) if slot == "mixer" else slot: e for slot, e in refused.items()})


def _try(subject: Subject) -> str:
    """Why the part does not run there; "" where it does."""
    try:
        with float64_arithmetic():
            y = subject.random()(subject.input())
    except MissingArgument:
        raise
    except ParibusError as error:
        return str(error)
    except Exception as error:  # the class's own code, which may not be made for this slot
        return f"{type(error).__name__}: {error}".splitlines()[0] + f", given {tuple(subject.input().shape)}"
    if not isinstance(y, Tensor):
        return f"forward returns a {type(y).__name__}, expected one tensor"
    if tuple(y.shape) != subject.out_shape:
        return f"{tuple(subject.input().shape)} came out as {tuple(y.shape)}, expected {subject.out_shape}"
    return ""


def _tell_apart(subject: Subject) -> tuple[tuple[str, ...], str]:
    """The slots, among those of one shape, that the part behaves like, and how."""
    with float64_arithmetic(), torch.no_grad():
        part, x, other = subject.random(), subject.input(2), subject.input(3)
        place = x.shape[1] // 3  # not the middle, which stays where it is when time is reversed
        changed = x.clone()
        changed[:, place] = other[:, place]
        elsewhere = how_far(part, x, changed).amax((0, 2))  # (T,)
        elsewhere[place] = 0
        meet = elsewhere.max().item() > EXACT
        quiet, loud = part.eval()(x), part(_LOUD * x)
    slots = {getattr(child, "paribus_slot", None) for child in _below(part)}
    owned = sorted(slot for slot in slots if isinstance(slot, str))
    if "mixer" in owned or "mlp" in owned:
        return ("block",), f"is built of parts that stand in slots ({', '.join(owned)})"
    if meet and _correlation(loud, x) > _ALONG:
        return ("block",), "lets tokens meet and adds its input to its output"
    if meet:
        return ("mixer",), "lets tokens meet"
    if any(p.ndim >= 2 and min(p.shape) > 1 for p in part.parameters()):
        return ("mlp",), "changes each token alone, through matrices"
    if any(True for _ in part.parameters()):
        return ("norm",), "changes each token alone and has no matrix"
    if _size(loud) < 2 * _size(quiet):
        return ("norm",), "changes each token alone and does not grow with its input"
    return ("norm", "mlp"), "changes each token alone, has no weights and grows with its input"


def _below(part: nn.Module) -> list[nn.Module]:
    return list(part.modules())[1:]


def _correlation(a: Tensor, b: Tensor) -> float:
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def _size(x: Tensor) -> float:
    return x.square().mean().sqrt().item()
