"""Passes through a model that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, ``model`` is in eval mode; the mode it was in is restored."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def preserving(model: nn.Module) -> Iterator[None]:
    """Inside, passes may move the buffers, gradients and modes of ``model``; afterwards they are as they were.

    A buffer that was replaced is back, too.
    """
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    gradients = [(p, p.grad) for p in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, values in buffers:
                module._buffers[name] = buffer if buffer is None or values is None else buffer.copy_(values)
        for p, gradient in gradients:
            p.grad = gradient
        for module, mode in modes:
            module.training = mode
