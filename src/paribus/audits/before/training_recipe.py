"""Can an arm be trained by its recipe, and is it what it seems? Asked before training: optimizer, schedule, metric."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

import torch
from torch import nn

from paribus.audits.before.built_study import BuiltArm, BuiltStudy
from paribus.audits.before.own_metric import find_stateful_metric
from paribus.audits.checks import Check
from paribus.audits.instruments.models import draw_tokens, fixed_noise
from paribus.audits.instruments.observation import APART, Objective
from paribus.audits.instruments.sites import first_line, is_foreign
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Study, arms_without_rates
from paribus.design.tracebacks import user_line
from paribus.design.wording import write_count
from paribus.errors import ParibusError, TrainingError
from paribus.nn.contract import build_model, roles
from paribus.store.records import Finding
from paribus.training.optim import build_optimizer
from paribus.training.schedule import LEFT_OVER
from paribus.training.step import accumulate_gradients, update_weights

HALF = 0.50  # of the peak, at the end of a schedule that decays
LONG_WARMUP = 0.30  # of the steps
PEAK = 0.99  # of the largest factor: reached
FIRST_STEPS = 3
UNEVEN = 0.01  # of the gradient's norm
_MICRO_BATCHES = 4  # that are looked at

_ASKED = 10_000  # steps of a schedule, at most
_ASKED_BY_THE_LOOP = ("param_groups", "step", "zero_grad", "state_dict", "load_state_dict")

METRIC = Check[BuiltArm](
    name="metric",
    when="before",
    severities=("doubt",),
    sees="A study judged on the training loss where an arm is trained on a `loss` of its own that is not the "
    "cross-entropy. A metric of the user's own that gives other values of the same logits after another forward pass.",
    misses="Terms that come in later in training. A metric that reads files, clocks or what training alone leaves.",
    cost="two or three passes over two sequences, and only in such a study",
    needs="model",
    find=lambda arm: (
        *find_mixed_metric(arm.within.study, arm.name, arm.objective),
        *find_stateful_metric(arm),
    ),
)

MICRO_BATCHES = Check[BuiltArm](
    name="micro-batches",
    when="before",
    severities=("doubt",),
    sees="A model with a `loss` of its own whose gradient over a batch, taken in the recipe's micro-batches, is more "
    "than 1 % away from that of the batch as a whole: the mean of means is not the mean where targets are left out.",
    misses="Batches that leave out as many targets in each micro-batch as it happens. The corpus later in training.",
    cost="two passes over up to four micro-batches, and only for such a model and recipe",
    needs="model",
    find=lambda arm: find_uneven_micro_batches(arm),
)

PLANNED_SCHEDULE = Check[BuiltStudy](
    name="planned schedule",
    when="before",
    severities=("note", "doubt"),
    sees="A schedule that decays and stops above 0.5 of its peak, or has a negative factor (doubt). One that stops "
    "above 0.15, never decays, takes more than 30 % of the steps to its peak, or whose largest factor is not 1 (note).",
    misses="Groups with rates of their own. Schedules inside an optimizer.",
    cost="one call a step, 10,000 at most",
    needs="specs",
    find=lambda built: find_odd_schedules(built.study),
)

EXTRA_RATES = Check[BuiltStudy](
    name="extra rates",
    when="before",
    severities=("note",),
    sees="An optimizer without an argument `lr` (or `..._lr`) in a study that is not tuned: no pair is trained at "
    "another learning rate.",
    misses="A rate that another argument sets as well.",
    cost="none",
    needs="specs",
    find=lambda built: find_missing_extra_rates(built.study),
)


def require_recipe(training: Training, model: nn.Module) -> None:
    """Raise TrainingError unless the optimizer takes the parameters of ``model`` and the schedule can be asked."""
    _require_optimizer(training.optimizer, model)
    if training.schedule is not None:
        _require_schedule(training.schedule, training.steps)


def require_steps(training: Training, model: nn.Module, vocab_size: int, length: int) -> None:
    """Raise TrainingError unless the optimizer takes its first steps with ``model``, whose weights they move.

    One step of an optimizer of torch's or paribus's, ``FIRST_STEPS`` of any other.
    """
    spec = training.optimizer
    optimizer = build_optimizer(spec, model.train(), roles(model))
    for step in range(FIRST_STEPS if is_foreign(spec.cls) else 1):
        tokens = draw_tokens(vocab_size, 2, length + 1, seed=step)
        with fixed_noise(step):
            accumulate_gradients(model, tokens[:, :-1], tokens[:, 1:], windows=2)
            try:
                update_weights(optimizer)
            except Exception as error:
                raise TrainingError(
                    f"{spec} fails in step {step + 1}: {first_line(error)}{user_line(error)}"
                ) from error


def find_uneven_micro_batches(arm: BuiltArm) -> Iterator[Finding]:
    """Whether the gradient depends on how a batch is cut, on the first real batch and at the real initial weights."""
    training, corpus = arm.within.study.arms[arm.name].training, arm.within.prepared
    if training.micro_batch_tokens is None or corpus is None or not hasattr(arm.probe.model, "loss"):
        return
    windows, rows = (tokens // training.seq_len for tokens in (training.micro_batch_tokens, training.batch_tokens))
    seed, tokens = arm.within.study.first_seed, min(rows, _MICRO_BATCHES * windows) * training.seq_len
    batch = map(torch.from_numpy, corpus.batch(seed, 0, tokens, training.seq_len))
    inputs, targets = batch
    gradients = []
    for at_once in (windows, len(inputs)):
        model = build_model(arm.spec, seed, vocab_size=arm.within.vocab_size, seq_len=training.seq_len).eval()
        with fixed_noise(0):
            accumulate_gradients(model, inputs, targets, at_once)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    cut, whole = gradients
    apart = ((cut - whole).norm() / whole.norm().clamp(min=1e-30)).item()
    if apart > UNEVEN:
        yield Finding(
            check="micro-batches",
            severity="doubt",
            message=f"the gradient of {arm.name!r} over its micro-batches is {apart:.1%} away from that of the batch: "
            "its loss is a mean over what each of them counts",
            arm=arm.name,
            site="model",
            evidence={"relative": apart, "allowed": UNEVEN, "micro_batch_tokens": training.micro_batch_tokens},
            remedy="let the loss divide by the number of all targets, or leave micro_batch_tokens out for all arms",
        )


def find_odd_schedules(study: Study) -> Iterator[Finding]:
    """Schedules that do not decay, end high, warm up long, or have factors that no rate should be multiplied by.

    An arm whose schedule is the baseline's is not told again, and the default needs no telling.
    """
    told = []
    for name, arm in study.arms.items():
        schedule, steps = arm.training.schedule, arm.training.steps
        if schedule is not None and (schedule, steps) not in told:
            told.append((schedule, steps))
            yield from _schedule_faults(name, schedule, steps)


def find_missing_extra_rates(study: Study) -> Iterator[Finding]:
    """A study that would be tried at other learning rates, where an arm's optimizer has none to multiply."""
    lacking = arms_without_rates(study.arms)
    if study.extra_rates and not study.tuning and lacking:
        cls = study.arms[lacking[0]].training.optimizer.cls
        factors = " and ".join(f"{factor:g}" for factor in study.extra_rates)
        yield Finding(
            check="extra rates",
            severity="note",
            message=f"no pair is trained at {factors} times the learning rate: {cls.__name__} of "
            f"{write_count(len(lacking), 'arm')} has no argument lr, or ..._lr, that could be multiplied",
            arm=lacking[0] if len(lacking) == 1 else None,
            evidence={"arms": lacking, "factors": list(study.extra_rates)},
            remedy="call the argument lr, or tune it by its path: Study(tuning=paribus.Tuning(over=...))",
        )


def find_mixed_metric(study: Study, name: str, goal: Objective | None) -> Iterator[Finding]:
    """A study judged on the training loss, where an arm is trained on something else than the cross-entropy."""
    if study.metric.key == "train_loss" and goal is not None and goal.gap > APART:
        yield Finding(
            check="metric",
            severity="doubt",
            message=f"the study is judged on the training loss, and {name!r} is trained on a loss of its own: "
            f"{goal.own:.4g} where the cross-entropy is {goal.cross_entropy:.4g}",
            arm=name,
            evidence={"own": goal.own, "cross_entropy": goal.cross_entropy},
            remedy="judge on val_loss: held-out tokens are scored by cross-entropy in every arm",
        )


def _schedule_faults(name: str, spec: Spec, steps: int) -> Iterator[Finding]:
    factors = {step: float(factor) for step, factor in _ask(spec, steps).items()}
    peak, last, lowest = max(factors.values()), factors[steps - 1], min(factors.values())
    warm = next(step for step, factor in factors.items() if factor >= PEAK * peak or peak <= 0) / steps
    is_rising = warm > LONG_WARMUP and peak not in list(factors.values())[:-1]  # told as a long way to the peak
    faults = []
    if lowest < 0 or peak <= 0:
        faults.append(("doubt", f"its factors go from {lowest:.3g} to {peak:.3g}: a step goes uphill, or nowhere"))
    elif last > PEAK * peak:
        if not is_rising:
            said = f"the last of {write_count(steps, 'step')} has {last / peak:.2f} of the largest rate"
            faults.append(("note", f"it never decays: {said}"))
    elif last > HALF * peak:
        faults.append(
            ("doubt", f"it decays to {last / peak:.3f} of its peak in {write_count(steps, 'step')} and stops there")
        )
    elif last > LEFT_OVER * peak:
        faults.append(("note", f"it ends at {last / peak:.2f} of its peak after {write_count(steps, 'step')}"))
    if peak > 0 and warm > LONG_WARMUP:
        faults.append(("note", f"{warm:.0%} of the {write_count(steps, 'step')} go by before it reaches its peak"))
    if peak > 0 and not PEAK <= peak <= 1 / PEAK:
        faults.append(("note", f"its largest factor is {peak:.3g}: the optimizer's lr is never the largest rate"))
    for severity, fault in faults:
        yield Finding(
            check="planned schedule",
            severity=severity,
            message=f"the schedule of {name!r}, {spec}: {fault}",
            arm=None if name == BASELINE else name,
            evidence={"steps": steps, "largest": peak, "lowest": lowest, "last": last, "share_before_peak": warm},
            remedy="count the schedule in optimizer steps, of which it is told the number; decay to a tenth or to zero",
        )


def _ask(spec: Spec, steps: int) -> dict[int, Any]:
    """Step to factor, in order: of every step, or of as many as are quickly asked, the first and the last included."""
    schedule = spec.cls(**dict(spec.arguments))
    asked = range(steps) if steps <= _ASKED else [i * (steps - 1) // (_ASKED - 1) for i in range(_ASKED)]
    return {step: schedule(step, steps) for step in asked}


def _require_optimizer(spec: Spec, model: nn.Module) -> None:
    try:
        optimizer = build_optimizer(spec, model, roles(model))
    except ParibusError:
        raise
    except Exception as error:
        raise TrainingError(f"{spec} cannot train this model: {first_line(error)}{user_line(error)}") from error
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
        factors = _ask(spec, steps)
    except ParibusError:
        raise
    except Exception as error:
        raise TrainingError(f"{spec} is no learning-rate schedule: {first_line(error)}{user_line(error)}") from error
    for step, factor in factors.items():
        if not isinstance(factor, Real) or not math.isfinite(factor):
            raise TrainingError(f"{spec} is {factor!r} at step {step} of {steps}, expected a finite number")


def _required(step: Any) -> list[str]:
    parameters = inspect.signature(step).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
