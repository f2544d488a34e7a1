"""Blocks through ``torch.compile``, for the steps of training alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from paribus.errors import TrainingError

Forwards = Mapping[nn.Module, Callable[..., Any]]
"""Modules and what runs in place of their ``forward``."""

# Of one class's forward, in one process: a worker trains all arms of a study in turn.
_MOST_VARIANTS = 64


def compile_blocks(model: nn.Module) -> Forwards:
    """Compiled forwards of the blocks of ``model``, or of ``model`` itself where it has none; for ``in_place_of``.

    A forward is compiled when it is first called, once for all blocks that are built alike, and kept: in the process
    for its later runs, on disk by torch for other processes. Each shape is compiled by itself, so that the bits of a
    run do not depend on what its process compiled before. Parts with ``idle_parameters()``, such as MoE, run as
    written: how many tokens an expert gets changes with every batch. Random draws are those of the parts as written.
    """
    blocks = [part for part in model.modules() if getattr(part, "paribus_slot", None) == "block"] or [model]
    compiled = {part: _compile(part) for part in blocks}
    routed = [part for part in model.modules() if hasattr(part, "idle_parameters") and part not in compiled]
    return compiled | {part: torch.compiler.disable(part.forward) for part in routed}


@contextmanager
def in_place_of(forwards: Forwards) -> Iterator[None]:
    """Inside, every module of ``forwards`` has the forward that stands there.

    Raises TrainingError where one is compiled over and over, rather than go on with it as written.
    """
    if not forwards:
        yield
        return
    from torch._dynamo import config
    from torch._dynamo.exc import FailOnRecompileLimitHit

    own = {part: vars(part)["forward"] for part in forwards if "forward" in vars(part)}
    for part, forward in forwards.items():
        part.forward = forward
    try:
        with config.patch(fail_on_recompile_limit_hit=True):
            yield
    except FailOnRecompileLimitHit:
        raise TrainingError(
            f"one forward was compiled {_MOST_VARIANTS} times: a number in it, or a shape, is another in every step "
            "(torch's warnings above name it); take it out, or set compile=False in Training"
        ) from None
    finally:
        for part in forwards:
            del part.forward
        for part, forward in own.items():
            part.forward = forward


def _compile(part: nn.Module) -> Callable[..., Any]:
    options = {"fallback_random": True}
    return torch.compile(part.forward, dynamic=False, recompile_limit=_MOST_VARIANTS, options=options)
