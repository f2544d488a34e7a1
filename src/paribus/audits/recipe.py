"""Can an arm be trained by its recipe at all? Asked before training, of the optimizer and of the schedule."""

from __future__ import annotations

import inspect
import math
from numbers import Real
from typing import Any

from torch import nn

from paribus.audits.sites import first_line
from paribus.errors import ParibusError, TrainingError
from paribus.nn.contract import roles
from paribus.specs import Spec
from paribus.study import Training
from paribus.training.optim import build_optimizer

_ASKED_BY_THE_LOOP = ("param_groups", "step", "zero_grad", "state_dict", "load_state_dict")


def require_recipe(training: Training, model: nn.Module) -> None:
    """Raise TrainingError unless the optimizer takes the parameters of ``model`` and the schedule can be asked."""
    _require_optimizer(training.optimizer, model)
    if training.schedule is not None:
        _require_schedule(training.schedule, training.steps)


def _require_optimizer(spec: Spec, model: nn.Module) -> None:
    try:
        optimizer = build_optimizer(spec, model, roles(model))
    except ParibusError:
        raise
    except Exception as error:
        raise TrainingError(f"{spec} cannot train this model: {first_line(error)}") from error
    if missing := [name for name in _ASKED_BY_THE_LOOP if not hasattr(optimizer, name)]:
        raise TrainingError(f"{spec} is no optimizer: it has no {', '.join(missing)}")
    if needed := _required(optimizer.step):
        raise TrainingError(
            f"{spec} cannot train this model: its step() needs {', '.join(map(repr, needed))}, "
            "and the training loop gives it nothing; take an optimizer that steps once per gradient, such as AdamW"
        )
    if any("lr" not in group for group in optimizer.param_groups):
        raise TrainingError(f"{spec} has a parameter group without 'lr', which the schedule multiplies")


def _require_schedule(spec: Spec, steps: int) -> None:
    try:
        schedule = spec.cls(**dict(spec.arguments))
        factors = {step: schedule(step, steps) for step in (0, steps - 1)}
    except ParibusError:
        raise
    except Exception as error:
        raise TrainingError(f"{spec} is no learning-rate schedule: {first_line(error)}") from error
    for step, factor in factors.items():
        if not isinstance(factor, Real) or not math.isfinite(factor):
            raise TrainingError(f"{spec} is {factor!r} at step {step} of {steps}, expected a finite number")


def _required(step: Any) -> list[str]:
    parameters = inspect.signature(step).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
