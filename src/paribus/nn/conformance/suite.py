"""One conformance suite for every part, ours and the user's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.design.tracebacks import user_line
from paribus.errors import ParibusError, PartError, SpecError
from paribus.nn.conformance.subjects import CHECKED_SLOTS, SEED, SUBJECTS, TIME, Subject
from paribus.nn.contract import reset_at
from paribus.nn.noise import seeded
from paribus.nn.precision import float64_arithmetic

EXACT = 1e-9  # what float64 may differ by in a function that is the same
SLOPE = 1e-4  # relative; central differences in float64 come to about 1e-7


@dataclass(frozen=True)
class CheckResult:
    """One property of a part: whether it holds, and the numbers that say so.

    ``ran`` is False where there are no numbers: the part raised, or computes too coarsely to tell.
    """

    name: str
    passed: bool
    detail: str
    ran: bool = True


def check_part(part: type | Spec, slot: str, **arguments: Any) -> tuple[CheckResult, ...]:
    """Return what the conformance suite finds about ``part`` in ``slot``.

    ``arguments`` are those of a class; sizes it leaves open are filled with small ones.
    Raises SpecError for arguments that do not fit, PartError where the part cannot be built; a check
    that fails raises nothing.
    """
    if slot not in SUBJECTS:
        raise SpecError(f"there is no slot {slot!r} to check; there is {', '.join(CHECKED_SLOTS)}")
    site = part if isinstance(part, Spec) else spec(part, **arguments)
    subject = SUBJECTS[slot](site)
    try:
        module = subject.make()
    except ParibusError:
        raise
    except Exception as error:
        raise PartError(f"{site.cls.__name__} cannot be built as a {slot}: {type(error).__name__}: {error}") from error
    checks = _CHECKS + ((_steps_like_its_parallel_form,) if hasattr(module, "step") else ())
    return tuple(_look(check, subject) for check in checks)


def require_part(part: type | Spec, slot: str, **arguments: Any) -> None:
    """Raise PartError naming every check that ``part`` fails in ``slot``."""
    if failed := [f"{c.name}: {c.detail}" for c in check_part(part, slot, **arguments) if not c.passed]:
        name = part.cls.__name__ if isinstance(part, Spec) else part.__name__
        raise PartError(f"{name} does not conform to the {slot} slot: " + "; ".join(failed))


Outcome = tuple[bool, str]
"""Whether a property holds, and the numbers that say so."""


def _look(check: Callable[[Subject], Outcome], subject: Subject) -> CheckResult:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        if check in _AS_TRAINED:
            passed, detail = check(subject)
        else:
            with float64_arithmetic():
                passed, detail = check(subject)
    except Exception as error:  # the part's own code runs in here, and its failure is the answer
        return CheckResult(name, False, f"{describe_failure(error)}, given {tuple(subject.input().shape)}", ran=False)
    return CheckResult(name, passed, detail)


def describe_failure(error: Exception) -> str:
    """The error's first line, and the line of the user's code that raised it."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {said[0]}' if said else ''}{user_line(error)}"


# The checks: what must hold of every part in every slot.


def _keeps_its_shape(subject: Subject) -> Outcome:
    y = subject.random()(subject.input())
    if not isinstance(y, Tensor):
        return False, f"forward returns a {type(y).__name__}, expected one tensor"
    return tuple(y.shape) == subject.out_shape, f"got {tuple(y.shape)}, expected {subject.out_shape}"


def _is_causal(subject: Subject) -> Outcome:
    """What comes after a token does not move its output, in training and in evaluation."""
    module, worst = subject.random(), 0.0
    for before, other in _loud_and_quiet(subject):
        for t in (0, TIME // 2, TIME - 2):
            after = torch.cat((before[:, : t + 1], other[:, t + 1 :]), dim=1)
            moved = how_far(module, before, after)[:, : t + 1]
            worst = max(worst, moved.max().item())
    return worst <= EXACT, f"later tokens move earlier outputs by {worst:.1e}, at most {EXACT:.0e} allowed"


def _keeps_rows_apart(subject: Subject) -> Outcome:
    """A sequence's output does not depend on the other sequences of its batch."""
    module, worst = subject.random(), 0.0
    for before, other in _loud_and_quiet(subject):
        moved = how_far(module, before, torch.cat((before[:1], other[1:])))[:1]
        worst = max(worst, moved.max().item())
    return worst <= EXACT, f"other rows of the batch move an output by {worst:.1e}, at most {EXACT:.0e} allowed"


def _registers_its_weights(subject: Subject) -> Outcome:
    """No layer or parameter lies in a plain list or dict, where neither training nor seeds nor devices find it."""
    part = subject.make()
    known = {id(p) for p in part.parameters()}
    hidden = [
        f"{path}.{name}" if path else name
        for path, module in part.named_modules()
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE and any(id(p) not in known for p in _weights_in(value))
    ]
    if hidden:
        named = ", ".join(hidden)
        return False, f"{named} holds weights that torch does not see; use nn.ModuleList, nn.ModuleDict or nn.Parameter"
    return True, f"all {len(known)} tensors are known to torch"


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _weights_in(value: Any) -> Iterator[Tensor]:
    """The tensors that want a gradient in a module, or in a list, tuple or dict of such."""
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _weights_in(item)


def _trains_every_parameter(subject: Subject) -> Outcome:
    module = subject.random()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        return True, "has no parameters"
    loss = _scalar(module, subject.input())
    for part in module.modules():
        if callable(aux := getattr(part, "aux", None)):
            loss = loss + sum(aux().values())
    loss.backward()
    dead = [name for name, p in trained.items() if p.grad is None or not p.grad.any()]
    if dead:
        return False, f"no gradient reaches {', '.join(dead)}"
    return True, f"gradients reach {len(trained)} of {len(trained)} tensors"


def _has_the_right_gradient(subject: Subject) -> Outcome:
    """The gradient is the derivative, along random directions of inputs and weights.

    The best of three points counts: a kink such as ReLU's spoils one now and then, a wrong gradient all.
    """
    (error, claimed, measured), seed = min((_slopes(subject, seed), seed) for seed in (7, 8, 9))
    if error > SLOPE and abs(_slopes(subject, seed, step=1e-5)[2] - measured) > 0.01 * max(abs(measured), 1e-3):
        raise PartError("its difference quotients depend on the step; it computes too coarsely to tell")
    return error <= SLOPE, f"gradient {claimed:.6g}, difference quotient {measured:.6g}, apart by {error:.1e}"


def _is_deterministic(subject: Subject) -> Outcome:
    worst = how_far(subject.random(), subject.input(), subject.input()).max().item()
    return worst == 0, f"two calls with one seed differ by {worst:.1e}"


def _starts_the_same(subject: Subject) -> Outcome:
    differing = _differing(subject.make(), subject.make())
    return not differing, _named(differing, "differ between two constructions under one stream")


def _resets_the_same(subject: Subject) -> Outcome:
    module = subject.make()
    if not callable(getattr(module, "reset_parameters", None)):
        return True, "has no reset_parameters(); its construction sets its weights"
    once = copy.deepcopy(module)
    reset_at(module, subject.path, SEED)
    differing = _differing(once, module)
    return not differing, _named(differing, "differ when reset again under one stream")


def _survives_bf16(subject: Subject) -> Outcome:
    """Under the autocast that training uses, weights in float32."""
    module, x = subject.make(), subject.input()
    if x.is_floating_point():
        x = x.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    y.float().square().mean().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    finite = all(bool(t.isfinite().all()) for t in (y, *gradients))
    return finite, f"largest output {y.abs().max().item():.3g}, gradients of {len(gradients)} tensors"


def _steps_like_its_parallel_form(subject: Subject) -> Outcome:
    module: Any = subject.random().eval()
    x = subject.input()
    state, outputs = None, []
    with torch.no_grad():
        for t in range(TIME):
            y, state = module.step(x[:, t : t + 1], state)
            outputs.append(y)
        worst = (torch.cat(outputs, dim=1) - module(x)).abs().max().item()
    return worst <= 1e-8, f"step by step and at once differ by {worst:.1e}, at most 1e-08 allowed"


_AS_TRAINED = (_registers_its_weights, _starts_the_same, _resets_the_same, _survives_bf16)
_CHECKS = (
    _keeps_its_shape,
    _is_causal,
    _keeps_rows_apart,
    _trains_every_parameter,
    _has_the_right_gradient,
    _is_deterministic,
    *_AS_TRAINED,
)


def _loud_and_quiet(subject: Subject) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of inputs. A softmax that saturates on loud ones would hide a leak."""
    before, other = subject.input(2), subject.input(3)
    yield before, other
    if before.is_floating_point():
        yield 0.1 * before, 0.1 * other


def how_far(module: nn.Module, before: Tensor, after: Tensor) -> Tensor:
    """How far each output moves, with the noise held fixed; the larger of training and evaluation mode."""
    moved = []
    with torch.no_grad():
        for training in (True, False):
            module.train(training)
            pair = []
            for x in (before, after):
                with seeded(5):
                    pair.append(copy.deepcopy(module)(x))  # a copy: running statistics must not carry over
            moved.append(_distance(*pair))
    return torch.maximum(*moved)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, infinite where one of them is not a number."""
    return (a - b).abs().nan_to_num(nan=math.inf)


def _scalar(module: nn.Module, x: Tensor) -> Tensor:
    with seeded(5):
        y = module(x)
    with seeded(6):
        return (y * torch.randn(y.shape, dtype=y.dtype)).sum()


def _slopes(subject: Subject, seed: int, step: float = 1e-7) -> tuple[float, float, float]:
    """How the part's gradient and a difference quotient along one direction differ, relatively, and both."""
    module, x = subject.random(), subject.input(seed)
    leaves: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
    if x.is_floating_point():
        leaves.append(x.requires_grad_())
    if not leaves:
        return 0.0, 0.0, 0.0
    with seeded(seed):
        directions = [torch.randn_like(leaf) for leaf in leaves]
    starts = [leaf.detach().clone() for leaf in leaves]

    def value(shift: float) -> float:
        for leaf, start, direction in zip(leaves, starts, directions, strict=True):
            leaf.copy_(start + shift * direction)
        return _scalar(module, x).item()

    gradients = torch.autograd.grad(_scalar(module, x), leaves, allow_unused=True)
    claimed = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)
    with torch.no_grad():
        measured = (value(step) - value(-step)) / (2 * step)
    return abs(claimed - measured) / max(abs(measured), 1e-3), claimed, measured


def _differing(a: nn.Module, b: nn.Module) -> list[str]:
    left, right = _tensors(a), _tensors(b)
    return [name for name in left.keys() | right.keys() if not _equal(left.get(name), right.get(name))]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def _named(names: list[str], complaint: str) -> str:
    return f"{', '.join(sorted(names))} {complaint}" if names else "bit-equal"
