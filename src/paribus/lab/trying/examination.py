"""Does a class do what its place in a study asks of it? Found out alone, at small sizes, within seconds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn

from paribus.audits.before.own_metric import require_measure
from paribus.data.own_dataset import read_dataset
from paribus.design.metrics import require_metric
from paribus.design.specs import Spec, spec
from paribus.design.wording import suggest
from paribus.errors import MissingArgument, ParibusError, SpecError, StudyError
from paribus.lab.trying.idea import Idea, read_idea
from paribus.nn.conformance.slot_finder import find_slots
from paribus.nn.conformance.subjects import CHECKED_SLOTS
from paribus.nn.conformance.suite import CheckResult, Outcome, check_part
from paribus.nn.contract import roles
from paribus.nn.noise import seeded
from paribus.training.optim import build_optimizer
from paribus.training.step import update_weights

_VOCABULARY = 61  # ids in the logits that a metric is tried on
GIVEN = "was given this slot"  # why it has a slot that was not found but named
_STEPS = (1, 10, 100)  # lengths of training at which a schedule is asked


@dataclass(frozen=True)
class Examination:
    """What was found about a class.

    Args:
        slot: where it stands in a model; None for what is no part.
        why: what shows that it belongs there.
        others: further slots in which it can be built and run.
        arguments: those of its constructor that were given.
    """

    idea: Idea
    slot: str | None
    why: str
    others: tuple[str, ...]
    arguments: Mapping[str, Any]
    checks: tuple[CheckResult, ...]

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what it is, where it fits, and every check with its numbers."""
        return {
            "reference": self.idea.reference,
            "kind": self.idea.kind,
            "slot": self.slot,
            "why": self.why,
            "others": list(self.others),
            "arguments": dict(self.arguments),
            "passed": not self.failed,
            "checks": [asdict(check) for check in self.checks],
        }


def examine(reference: str, slot: str | None = None, arguments: Mapping[str, Any] | None = None) -> Examination:
    """Find what the class of ``file.py:Class`` or ``package.module:Class`` is, and run its conformance suite.

    The slot of a part is found by what the class does, unless it is given. ``arguments`` are its constructor's.
    Raises StudyError for a class that is not there and a slot that behaviour does not decide, SpecError for arguments
    that are missing or unknown, PartError for a part that fits no slot. A check that fails raises nothing.
    """
    idea, given = read_idea(reference), dict(arguments or {})
    if slot is not None and idea.kind != "part":
        raise StudyError(f"{idea.name}, of the kind {idea.kind}, stands in no slot; leave the slot {slot!r} out")
    if slot is not None and slot not in CHECKED_SLOTS:
        raise StudyError(f"there is no slot {slot!r}; {suggest(slot, CHECKED_SLOTS)}")
    if idea.kind == "part":
        return _examine_part(idea, slot, given)
    if idea.kind == "metric":
        return _examine_metric(idea, given)
    site = _fill(idea, given)
    why, look = {
        "optimizer": ("takes parameters and steps", _examine_optimizer),
        "schedule": ("maps (step, steps) to a factor", _examine_schedule),
        "dataset": ("has documents", _examine_dataset),
    }[idea.kind]
    return Examination(idea, None, why, (), given, tuple(look(site)))


def _examine_part(idea: Idea, slot: str | None, arguments: dict[str, Any]) -> Examination:
    site = spec(idea.thing, **arguments)
    _require_kinds(idea, arguments)
    try:
        if slot is not None:
            return Examination(idea, slot, GIVEN, (), arguments, check_part(site, slot))
        fitting = find_slots(site)
        if len(fitting.slots) > 1:
            choice = " or ".join(f"--slot {name}" for name in fitting.slots)
            raise StudyError(f"{idea.name} {fitting.why}: it may stand as {_or(fitting.slots)}; say {choice}")
        (found,) = fitting.slots
        others = tuple(name for name in fitting.runs if name != found)
        return Examination(idea, found, fitting.why, others, arguments, check_part(site, found))
    except MissingArgument as error:
        raise _lacking(error.cls, error.names) from None


def _examine_metric(idea: Idea, arguments: dict[str, Any]) -> Examination:
    if arguments:
        raise StudyError(f"{idea.name} is a Metric, which is made already; leave {', '.join(arguments)} out")

    def measures_tokens() -> Outcome:
        require_measure(idea.thing, _VOCABULARY)
        return True, f"{idea.thing.key} in {idea.thing.unit}, {idea.thing.better} is better"

    require_metric(idea.thing)
    return Examination(idea, None, "is a Metric", (), {}, (_checked(measures_tokens),))


def _fill(idea: Idea, arguments: dict[str, Any]) -> Spec:
    """The spec of a class that is no part, with everything bound that its constructor needs."""
    site = spec(idea.thing, **arguments)
    _require_kinds(idea, arguments)
    parameters = list(signature(idea.thing).parameters.values())
    if idea.kind == "optimizer":
        parameters = [p for p in parameters[1:] if p.name != "roles"]  # the first are the model's tensors
    positional = (parameters[0].POSITIONAL_OR_KEYWORD, parameters[0].KEYWORD_ONLY) if parameters else ()
    needed = [p.name for p in parameters if p.kind in positional and p.default is p.empty and p.name not in arguments]
    if needed:
        raise _lacking(idea.thing, tuple(needed))
    return site


def _require_kinds(idea: Idea, arguments: Mapping[str, Any]) -> None:
    """Raise SpecError for a text where the constructor's default is a number or a truth value."""
    parameters = signature(idea.thing).parameters
    for name, value in arguments.items():
        default = parameters[name].default if name in parameters else None
        if isinstance(value, str) and isinstance(default, bool | int | float):
            raise SpecError(f"{idea.name}: {name} is {default!r} by default, got the text {value!r}")


def _lacking(cls: type, names: tuple[str, ...]) -> SpecError:
    said = " ".join(f"--set {name}=..." for name in names)
    return SpecError(
        f"{cls.__name__} needs {', '.join(map(repr, names))}, which nothing around it gives; say {said}, or give "
        f"{'it a default' if len(names) == 1 else 'them defaults'}"
    )


def _examine_optimizer(site: Spec) -> Iterator[CheckResult]:
    """An optimizer at work on a small model whose gradients are given."""

    def start() -> tuple[nn.Module, Any]:
        with seeded(0):
            model = nn.Sequential(nn.Linear(7, 11), nn.LayerNorm(11))
        return model, build_optimizer(site, model, roles(model))

    def step(model: nn.Module, optimizer: Any, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=draw)
        update_weights(optimizer)

    def run(n_steps: int) -> nn.Module:
        model, optimizer = start()
        for seed in range(n_steps):
            step(model, optimizer, seed)
        return model

    def moves_every_parameter() -> Outcome:
        before, after = dict(start()[0].named_parameters()), dict(run(3).named_parameters())
        still = [name for name, p in after.items() if torch.equal(p, before[name])]
        bad = [name for name, p in after.items() if not p.isfinite().all()]
        if bad:
            return False, f"not finite after 3 steps: {', '.join(bad)}"
        return not still, f"{len(after) - len(still)} of {len(after)} tensors moved in 3 steps"

    def obeys_its_learning_rate() -> Outcome:
        model, optimizer = start()
        before = copy.deepcopy(model.state_dict())
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        step(model, optimizer, 0)
        worst = max((p - before[name]).abs().max().item() for name, p in model.state_dict().items())
        return worst == 0, f"parameters move by {worst:.1e} at a rate of 0, which schedules set in param_groups"

    def repeats_itself() -> Outcome:
        return _agree(run(4), run(4)), "4 steps, made twice from one start"

    def goes_on_from_its_state() -> Outcome:
        model, optimizer = start()
        step(model, optimizer, 0)
        weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        model, optimizer = start()
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        step(model, optimizer, 1)
        return _agree(model, run(2)), "a second step after state_dict() and load_state_dict()"

    for look in (moves_every_parameter, obeys_its_learning_rate, repeats_itself, goes_on_from_its_state):
        yield _checked(look)


def _agree(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def _examine_schedule(site: Spec) -> Iterator[CheckResult]:
    def gives_a_factor() -> Outcome:
        schedule = site.cls(**dict(site.arguments))
        factors = [float(schedule(step, steps)) for steps in _STEPS for step in range(steps)]
        inside = all(math.isfinite(factor) and 0 <= factor <= 1 for factor in factors)
        return inside and max(factors) > 0, f"factors from {min(factors):.3g} to {max(factors):.3g}, expected 0 to 1"

    yield _checked(gives_a_factor)


def _examine_dataset(site: Spec) -> Iterator[CheckResult]:
    def keeps_its_contract() -> Outcome:
        found = read_dataset(site.cls(**dict(site.arguments)))
        sides = ", ".join(f"{len(documents):,} of {side}" for side, documents in found.sides.items())
        return True, f"{sides}; {found.vocab_size:,} ids with the separator"

    yield _checked(keeps_its_contract)


def _checked(look: Callable[[], Outcome]) -> CheckResult:
    name = look.__name__.replace("_", " ")
    try:
        return CheckResult(name, *look())
    except ParibusError as error:
        return CheckResult(name, False, str(error), ran=False)
    except Exception as error:  # the user's own code runs in here, and its failure is the answer
        return CheckResult(name, False, f"{type(error).__name__}: {error}".splitlines()[0], ran=False)


def _or(names: Any) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
