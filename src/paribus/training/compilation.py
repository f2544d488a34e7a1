"""Blocks through ``torch.compile``, for the steps of training alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import nn

from paribus.errors import TrainingError
from paribus.nn.slots import parts_of
from paribus.training.objective import find_unembedding

_MOST_COMPILING_STEPS = 8  # the first compiles, and a few later where something changes on the way
_MOST_VARIANTS = 256  # of one forward in a process: torch's accumulated_recompile_limit

_OPTIONS: dict[str, Any] = {
    "fallback_random": True,  # the random draws of the parts as written
    "emulate_precision_casts": True,  # and the roundings of bf16
    "deterministic": True,  # nothing is chosen by the clock
}


@dataclass
class Compiled:
    """What runs in place of the ``forward`` of which modules, and in how many steps something was compiled so far."""

    forwards: Mapping[nn.Module, Callable[..., Any]]
    compiling_steps: int = 0


def compile_blocks(model: nn.Module) -> Compiled:
    """Compile the blocks of ``model``, or ``model`` itself where it has none; ``in_place_of`` runs the outcome.

    A forward is compiled when it is first called, once for all blocks that are built alike, and kept: in the process
    for its later runs, on disk by torch for other processes. Each shape is compiled by itself, so that the bits of a
    run do not depend on what its process compiled before. Parts with ``idle_parameters()``, such as MoE, run as
    written: how many tokens an expert gets changes with every batch.

    Raises TrainingError for a model without blocks that is not trained through its ``forward``.
    """
    blocks = list(parts_of(model, "block").values())
    if not blocks and (callable(getattr(model, "loss", None)) or find_unembedding(model) is not None):
        raise TrainingError(
            f"compile=True finds nothing to compile: {type(model).__name__} has no blocks, and its forward is not what "
            "is trained"
        )
    _forget_other_models()
    forwards = {part: _replace_forward(part, _compile) for part in blocks or [model]}
    routed = [part for part in model.modules() if hasattr(part, "idle_parameters") and part not in forwards]
    forwards |= {part: _replace_forward(part, torch.compiler.disable) for part in routed}
    return Compiled(forwards)


@contextmanager
def in_place_of(compiled: Compiled | None) -> Iterator[None]:
    """Inside, which is one step, every module has its forward of ``compiled``.

    Raises TrainingError where one step after the other compiles, rather than go on with the model as written.
    """
    if compiled is None:
        yield
        return
    from torch._dynamo import config

    own = {part: vars(part)["forward"] for part in compiled.forwards if "forward" in vars(part)}
    for part, forward in compiled.forwards.items():
        part.forward = forward
    before = _count_graphs()
    try:
        # Without guards on hooks, a model with a hook would run what was compiled for one without.
        with config.patch(
            skip_nnmodule_hook_guards=False, recompile_limit=_MOST_VARIANTS, fail_on_recompile_limit_hit=True
        ):
            yield
    finally:
        for part in compiled.forwards:
            del part.forward
        for part, forward in own.items():
            part.forward = forward
    compiled.compiling_steps += _count_graphs() > before
    if compiled.compiling_steps > _MOST_COMPILING_STEPS:
        raise TrainingError(
            f"{compiled.compiling_steps} steps had to compile: a number or a shape in the model changes from step to "
            'step (TORCH_LOGS="recompiles" names it); take it out, or set compile=False in Training'
        )


def _replace_forward(part: nn.Module, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """``change`` of the forward of ``part``, bound to it as a method is: a copy of the part is bound to itself."""
    own = vars(part).get("forward")
    return MethodType(change(type(part).forward), part) if own is None else change(own)


def _compile(forward: Any) -> Any:
    return torch.compile(forward, dynamic=False, options=dict(_OPTIONS))


_forgotten = 0  # graphs that ``_forget_other_models`` had torch forget


def _forget_other_models() -> None:
    """Leave every run half of the variants of a forward at least, whatever else the process compiled."""
    global _forgotten
    if _count_graphs() - _forgotten >= _MOST_VARIANTS // 2:
        torch.compiler.reset()
        _forgotten = _count_graphs()


def _count_graphs() -> int:
    """Graphs that the process compiled so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]
