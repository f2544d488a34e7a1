"""One optimizer step: gradients over micro-batches, clipping, the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from paribus.training.evaluation import autocast
from paribus.training.objective import model_loss

Batch = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Step, counted from 0, to inputs and targets, each (B, T) token ids."""


def accumulate_gradients(
    model: nn.Module, inputs: Tensor, targets: Tensor, windows: int, device: str = "cpu", precision: str = "fp32"
) -> tuple[float, float | None]:
    """Add the gradients of (B, T) ``inputs`` to those of ``model``, in passes over ``windows`` rows each.

    Returns the mean loss, and that of the auxiliary losses, None where no part has any.
    """
    passes = list(zip(inputs.split(windows), targets.split(windows), strict=True))
    losses: list[Tensor] = []
    auxiliaries: list[Tensor] = []
    for tokens, answers in passes:
        with autocast(device, precision):
            own = model_loss(model, tokens.to(device), answers.to(device))
            terms = gather_auxiliary(model)
        ((own + sum(terms.values())) / len(passes)).backward()
        losses.append(own.detach().clone())
        auxiliaries += (term.detach().clone() for term in terms.values())  # a part may write over its own
    # Read at the end: the first number waits for the device, once a step and not once a pass.
    loss, auxiliary = (sum(x.item() for x in values) / len(passes) for values in (losses, auxiliaries))
    return loss, auxiliary if auxiliaries else None


def apply_gradients(model: nn.Module, optimizer: Any) -> None:
    """Take the optimizer's step, forget the gradients, and tell every part that has ``after_step()``."""
    optimizer.step()
    optimizer.zero_grad()
    for module in model.modules():
        if callable(after_step := getattr(module, "after_step", None)):
            after_step()


def gather_auxiliary(model: nn.Module) -> dict[str, Tensor]:
    """The auxiliary losses of every part that has ``aux()``, by path and name, after a forward pass."""
    terms = {}
    for path, module in model.named_modules():
        if hasattr(module, "aux"):
            terms.update({f"{path}.{name}": term for name, term in module.aux().items()})
    return terms
