"""One conformance suite for every part, ours and the user's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.errors import ParibusError, PartError, SpecError
from paribus.nn.attention import Attention
from paribus.nn.contract import TokenIds, build, build_at, reset_at
from paribus.nn.experts import Experts
from paribus.nn.init import reset_children
from paribus.nn.mlp import silu
from paribus.nn.moe import MoE
from paribus.nn.position import NoPosition
from paribus.nn.precision import float64_arithmetic
from paribus.specs import Spec, spec

EXACT = 1e-9  # what float64 may differ by in a function that is the same
SLOPE = 1e-4  # relative; central differences in float64 come to about 1e-7

_BATCH, _TIME, _VOCAB, _WIDTH = 3, 13, 61, 47  # primes, so that a swapped axis cannot go unseen
_HEADS, _HEAD_DIM, _EXPERTS = 6, 16, 5
_SIGNS = 6  # of an input's features make a token id
_SEED = 0


@dataclass(frozen=True)
class Check:
    """One property of a part: whether it holds, and the numbers that say so.

    ``ran`` is False where there are no numbers: the part raised, or computes too coarsely to tell.
    """

    name: str
    passed: bool
    detail: str
    ran: bool = True


def check_part(part: type | Spec, slot: str, **arguments: Any) -> tuple[Check, ...]:
    """Return what the conformance suite finds about ``part`` in ``slot``.

    ``arguments`` are those of a class; sizes it leaves open are filled with small ones.
    Raises SpecError for arguments that do not fit, PartError where the part cannot be built; a check
    that fails raises nothing.
    """
    if slot not in SUBJECTS:
        raise SpecError(f"there is no slot {slot!r} to check; there is {', '.join(SUBJECTS)}")
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


Finding = tuple[bool, str]


@dataclass(frozen=True)
class Subject:
    """A part under examination: how to make it, what to feed it, what shape to expect."""

    make: Callable[[], nn.Module]
    path: str
    draw: Callable[[], Tensor]
    out_shape: tuple[int, ...]

    def random(self) -> nn.Module:
        """The part in float64 with no weight at a special value such as 0 or 1."""
        module = self.make().double()
        with torch.no_grad(), _seeded(1):
            for p in module.parameters():
                p.add_((0.5 / math.sqrt(p.shape[-1]) if p.ndim >= 2 else 0.2) * torch.randn_like(p))
        return module

    def input(self, seed: int = 2) -> Tensor:
        with _seeded(seed):
            return self.draw()


def _look(check: Callable[[Subject], Finding], subject: Subject) -> Check:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        if check in _AS_TRAINED:
            passed, detail = check(subject)
        else:
            with float64_arithmetic():
                passed, detail = check(subject)
    except Exception as error:  # the part's own code runs in here, and its failure is the answer
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return Check(name, False, f"{said}, given {tuple(subject.input().shape)}", ran=False)
    return Check(name, passed, detail)


# The checks: what must hold of every part in every slot.


def _keeps_its_shape(subject: Subject) -> Finding:
    y = subject.random()(subject.input())
    if not isinstance(y, Tensor):
        return False, f"forward returns a {type(y).__name__}, expected one tensor"
    return tuple(y.shape) == subject.out_shape, f"got {tuple(y.shape)}, expected {subject.out_shape}"


def _is_causal(subject: Subject) -> Finding:
    """What comes after a token does not move its output, in training and in evaluation."""
    module, worst = subject.random(), 0.0
    for before, other in _loud_and_quiet(subject):
        for t in (0, _TIME // 2, _TIME - 2):
            after = torch.cat((before[:, : t + 1], other[:, t + 1 :]), dim=1)
            moved = how_far(module, before, after)[:, : t + 1]
            worst = max(worst, moved.max().item())
    return worst <= EXACT, f"later tokens move earlier outputs by {worst:.1e}, at most {EXACT:.0e} allowed"


def _keeps_rows_apart(subject: Subject) -> Finding:
    """A sequence's output does not depend on the other sequences of its batch."""
    module, worst = subject.random(), 0.0
    for before, other in _loud_and_quiet(subject):
        moved = how_far(module, before, torch.cat((before[:1], other[1:])))[:1]
        worst = max(worst, moved.max().item())
    return worst <= EXACT, f"other rows of the batch move an output by {worst:.1e}, at most {EXACT:.0e} allowed"


def _trains_every_parameter(subject: Subject) -> Finding:
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


def _has_the_right_gradient(subject: Subject) -> Finding:
    """The gradient is the derivative, along random directions of inputs and weights.

    The best of three points counts: a kink such as ReLU's spoils one now and then, a wrong gradient all.
    """
    (error, claimed, measured), seed = min((_slopes(subject, seed), seed) for seed in (7, 8, 9))
    if error > SLOPE and abs(_slopes(subject, seed, step=1e-5)[2] - measured) > 0.01 * max(abs(measured), 1e-3):
        raise PartError("its difference quotients depend on the step; it computes too coarsely to tell")
    return error <= SLOPE, f"gradient {claimed:.6g}, difference quotient {measured:.6g}, apart by {error:.1e}"


def _is_deterministic(subject: Subject) -> Finding:
    worst = how_far(subject.random(), subject.input(), subject.input()).max().item()
    return worst == 0, f"two calls with one seed differ by {worst:.1e}"


def _starts_the_same(subject: Subject) -> Finding:
    differing = _differing(subject.make(), subject.make())
    return not differing, _named(differing, "differ between two constructions under one stream")


def _resets_the_same(subject: Subject) -> Finding:
    module = subject.make()
    if not callable(getattr(module, "reset_parameters", None)):
        return True, "has no reset_parameters(); its construction sets its weights"
    once = copy.deepcopy(module)
    reset_at(module, subject.path, _SEED)
    differing = _differing(once, module)
    return not differing, _named(differing, "differ when reset again under one stream")


def _survives_bf16(subject: Subject) -> Finding:
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


def _steps_like_its_parallel_form(subject: Subject) -> Finding:
    module: Any = subject.random().eval()
    x = subject.input()
    state, outputs = None, []
    with torch.no_grad():
        for t in range(_TIME):
            y, state = module.step(x[:, t : t + 1], state)
            outputs.append(y)
        worst = (torch.cat(outputs, dim=1) - module(x)).abs().max().item()
    return worst <= 1e-8, f"step by step and at once differ by {worst:.1e}, at most 1e-08 allowed"


_AS_TRAINED = (_starts_the_same, _resets_the_same, _survives_bf16)
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
                with _seeded(5):
                    pair.append(copy.deepcopy(module)(x))  # a copy: running statistics must not carry over
            moved.append(_distance(*pair))
    return torch.maximum(*moved)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, infinite where one of them is not a number."""
    return (a - b).abs().nan_to_num(nan=math.inf)


def _scalar(module: nn.Module, x: Tensor) -> Tensor:
    with _seeded(5):
        y = module(x)
    with _seeded(6):
        return (y * torch.randn(y.shape, dtype=y.dtype)).sum()


def _slopes(subject: Subject, seed: int, step: float = 1e-7) -> tuple[float, float, float]:
    """How the part's gradient and a difference quotient along one direction differ, relatively, and both."""
    module, x = subject.random(), subject.input(seed)
    leaves: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
    if x.is_floating_point():
        leaves.append(x.requires_grad_())
    if not leaves:
        return 0.0, 0.0, 0.0
    with _seeded(seed):
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


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


# The slots: what a part is fed there.


def _tokenwise(site: Spec, slot: str) -> Subject:
    return _standing(site, slot, slot, _legend(site, d_model=_bound(site, "d_model", _WIDTH)))


def _mixing(site: Spec, slot: str) -> Subject:
    return _standing(site, slot, slot, _legend(site))


def _position(site: Spec) -> Subject:
    return _standing(spec(_Placed, position=site), "", None, _legend(site))


def _router(site: Spec) -> Subject:
    """A router at work, so that what it says of a token is seen in an output."""
    n_experts = _bound(site, "n_experts", 3 * _bound(site, "n_groups", 0) or _EXPERTS)
    routed = spec(MoE, n_experts=n_experts, router=site, experts=spec(Experts, d_ff=_HEAD_DIM, activation=silu))
    return _standing(routed, "", "mlp", _legend(site, d_model=_bound(site, "d_model", _WIDTH)))


def _standing(site: Spec, path: str, slot: str | None, legend: dict[str, Any]) -> Subject:
    """A part between (B, T, D) and (B, T, D), with all that a model hands down."""
    shape = (_BATCH, _TIME, legend["d_model"])

    def make() -> nn.Module:
        tokens = TokenIds()
        handed = {**legend, "position": NoPosition(), "tokens": tokens}
        part = build_at(site, path, _SEED, legend["d_model"], slot=slot, **handed)
        part.register_forward_pre_hook(_Reading(tokens, legend["vocab_size"]))
        return part

    return Subject(make, path, draw=lambda: torch.randn(shape, dtype=torch.float64), out_shape=shape)


@dataclass
class _Reading:
    """Sets token ids that belong to the input (B, T, D): its signs, read as a number."""

    tokens: TokenIds
    vocab_size: int

    def __call__(self, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        signs = (inputs[0][..., :_SIGNS] > 0).long()  # (B, T, signs)
        places = 2 ** torch.arange(signs.shape[-1])
        self.tokens.ids = (signs * places).sum(-1) % self.vocab_size


def _model(site: Spec) -> Subject:
    legend = _legend(site)
    return Subject(
        make=lambda: build_at(site, "", _SEED, slot="model", **legend),
        path="",
        draw=lambda: torch.randint(legend["vocab_size"], (_BATCH, _TIME)),
        out_shape=(_BATCH, _TIME, legend["vocab_size"]),
    )


SUBJECTS: dict[str, Callable[[Spec], Subject]] = {
    "norm": lambda site: _tokenwise(site, "norm"),
    "mlp": lambda site: _tokenwise(site, "mlp"),
    "router": _router,
    "mixer": lambda site: _mixing(site, "mixer"),
    "block": lambda site: _mixing(site, "block"),
    "position": _position,
    "model": _model,
}
"""Slot to what a part is fed there."""


CHECKED_SLOTS = tuple(SUBJECTS)
"""The slots that the suite knows."""


class _Placed(nn.Module):
    """A position in use: tokens with their places, then one attention."""

    def __init__(self, d_model: int, position: Spec):
        super().__init__()
        self.position = build(position, "position", slot="position")
        self.mixer = build(spec(Attention), "mixer", d_model, position=self.position)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(self.position.embed(x))


def _legend(site: Spec, **sizes: int) -> dict[str, Any]:
    """Small sizes for what the spec leaves open, in agreement with what it binds."""
    n_heads = _bound(site, "n_heads", 3 * (_bound(site, "n_kv_heads", 0) or _HEADS // 3))
    d_model = _bound(site, "d_model", n_heads * _HEAD_DIM)
    legend = {
        "d_model": d_model,
        "n_heads": n_heads,
        "head_dim": _bound(site, "head_dim", max(1, d_model // n_heads)),
        "vocab_size": _bound(site, "vocab_size", _VOCAB),
        "seq_len": _bound(site, "seq_len", _TIME),
        "n_layers": 1,
        "layer": 0,
        "dropout": 0.0,
        "init_std": 0.02,
        "out_std": None,
    }
    return {**legend, **sizes}


def _bound(site: Spec, name: str, otherwise: int) -> int:
    value = dict(site.arguments).get(name)
    return value if isinstance(value, int) else otherwise
