"""Which initial weights torch drew by default, and how to draw them as the model's own parts are drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_LAYERS = (nn.Linear, nn.Embedding)
_DRAWERS = ("torch.nn.modules.linear", "torch.nn.modules.sparse")  # modules that hold their ``reset_parameters``
_SAMPLE = 64  # numbers of a tensor by which it is known again
_BETWEEN = (__name__, "torch.nn.init", "torch.overrides", "torch.utils._contextlib", "torch.utils._device")


class WatchDraws(TorchFunctionMode):
    """Inside, it remembers which tensors ``nn.Linear`` and ``nn.Embedding`` drew by their own default."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        out = func(*args, **named)
        if getattr(func, "__module__", "") == "torch.nn.init":
            tensor = args[0] if args else named["tensor"]
            self.drawn.pop(id(tensor), None)
            if _caller() in _DRAWERS:
                self.drawn[id(tensor)] = tensor, _sample(tensor)
        return out

    def is_default(self, tensor: Tensor | None) -> bool:
        """Whether a tensor is still what torch drew."""
        drawn = self.drawn.get(id(tensor))
        return drawn is not None and torch.equal(_sample(drawn[0]), drawn[1])

    def defaults(self, part: nn.Module) -> tuple[str, ...]:
        """Paths of the tensors of ``part`` that are what torch drew, without those of the parts at its own sites."""
        return tuple(
            f"{path}.{name}" if path else name
            for path, layer in _own_layers(part, "")
            for name, p in layer.named_parameters(recurse=False)
            if self.is_default(p)
        )


@torch.no_grad()
def draw_as_model(tensor: Tensor, init_std: float) -> None:
    """N(0, init_std^2) for a matrix, 0 for a bias: what the parts of paribus start with."""
    if tensor.ndim < 2:
        tensor.zero_()
    else:
        tensor.normal_(std=init_std)


def _own_layers(part: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(part, _LAYERS):
        yield path, part
    for name, child in part.named_children():
        if not hasattr(child, "paribus_slot"):
            yield from _own_layers(child, f"{path}.{name}" if path else name)


def _caller() -> str:
    """The module whose code called the function of ``torch.nn.init``."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def _sample(tensor: Tensor) -> Tensor:
    return tensor.detach().flatten()[:_SAMPLE].clone()
