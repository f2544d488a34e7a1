"""One optimizer step: gradients over micro-batches, clipping, the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from paribus.design.recipe import Training
from paribus.training.compilation import Compiled, compile_blocks, in_place_of
from paribus.training.evaluation import autocast
from paribus.training.objective import model_loss
from paribus.training.optim import NO_BLOCKS, Blocks, build_optimizer

Batch = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Step, counted from 0, to inputs and targets, each (B, T) token ids."""


class Losses(NamedTuple):
    """Means over a batch: the loss in nats per token, and the auxiliary losses, None where no part has any."""

    loss: float
    auxiliary: float | None


@dataclass(frozen=True)
class Gradients:
    """The losses of a batch, and the norm of their gradient before clipping."""

    loss: float
    auxiliary: float | None
    norm: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss + (self.auxiliary or 0.0)) and math.isfinite(self.norm)


@dataclass
class Stepper:
    """Takes the optimizer steps of ``model``: ``begin``, ``compute_gradients``, ``apply_gradients``, and again.

    Args:
        windows: rows of a pass; the gradients of a batch with more rows are accumulated.
        clip: largest norm of the gradient; None for no limit.
        compiled: the forwards that run while gradients are computed; None for the model's own.
    """

    model: nn.Module
    optimizer: Any
    windows: int
    clip: float | None = None
    device: str = "cpu"
    precision: str = "fp32"
    compiled: Compiled | None = None
    peak_rates: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]

    def begin(self, noise: int, rate: float) -> None:
        """Seed torch's generators with ``noise``, and set every learning rate to ``rate`` times its peak."""
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * rate
        torch.manual_seed(noise)

    def compute_gradients(self, inputs: Tensor, targets: Tensor) -> Gradients:
        """Add the clipped gradients of (B, T) ``inputs`` to those of the model."""
        with in_place_of(self.compiled):
            losses = accumulate_gradients(self.model, inputs, targets, self.windows, self.device, self.precision)
        limit = math.inf if self.clip is None else self.clip
        return Gradients(*losses, torch.nn.utils.clip_grad_norm_(self._parameters, limit).item())

    def apply_gradients(self) -> None:
        """Take the optimizer's step, forget the gradients, and call every part's ``after_step()``."""
        update_weights(self.optimizer)
        run_after_step(self.model)


def start_training(
    model: nn.Module,
    training: Training,
    roles: Mapping[str, str],
    device: str = "cpu",
    blocks: Mapping[str, Blocks] = NO_BLOCKS,
) -> Stepper:
    """Move ``model`` to ``device``, in training mode, and give it the optimizer of the recipe ``training``.

    Raises TrainingError where the optimizer does not take the parameters, or nothing can be compiled.
    """
    model.to(device).train()
    return Stepper(
        model,
        build_optimizer(training.optimizer, model, roles, blocks),
        windows=(training.micro_batch_tokens or training.batch_tokens) // training.seq_len,
        clip=training.clip,
        device=device,
        precision=training.precision,
        compiled=compile_blocks(model) if training.compile else None,
    )


def accumulate_gradients(
    model: nn.Module, inputs: Tensor, targets: Tensor, windows: int, device: str = "cpu", precision: str = "fp32"
) -> Losses:
    """Add the gradients of (B, T) ``inputs`` to those of ``model``, in passes over ``windows`` rows each."""
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
    return Losses(loss, auxiliary if auxiliaries else None)


def update_weights(optimizer: Any) -> None:
    """Take the optimizer's step, and forget the gradients."""
    optimizer.step()
    optimizer.zero_grad()


def run_after_step(model: nn.Module) -> None:
    """Call ``after_step()`` of every part that has it."""
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
