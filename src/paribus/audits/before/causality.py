"""Does a model see the future, other rows of its batch, or earlier batches? Found by changing tokens."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltArm
from paribus.audits.checks import Check
from paribus.audits.instruments.models import (
    constant_noise,
    draw_tokens,
    fixed_noise,
    forward_exactly,
    randomize,
)
from paribus.design.specs import Spec
from paribus.design.streams import derive
from paribus.design.trees import site_of
from paribus.nn.precision import float64_arithmetic
from paribus.store.records import Finding
from paribus.training.isolation import preserving

EXACT = 1e-9  # how far a logit may move in float64
_TRIALS = ((0, True, 1.0), (0, False, 1.0), (1, True, 1.0), (2, False, 1000.0))
"""Seed of weights and tokens, whether in training mode, and what matrices are multiplied by.

A mask of -30 or -10,000 in place of minus infinity holds at small weights alone.
"""
_BORDERS = (15, 31, 63, 7, 16, 47, 0, 3, 95, 32, 111, 1, 79)  # last and first places of chunks, the likeliest first
_PLACES = 13  # in all trials together, besides the last one and a token changed alone

Keep = Callable[[Tensor], Tensor | None]
"""The part of an activation that must not move; None where the axes cannot be told."""


def _look_for_leaks(arm: BuiltArm) -> Iterator[Finding]:
    return find_leaks(arm.name, arm.exact_model, arm.spec, arm.probe.vocab_size, arm.probe.length)


CAUSALITY = Check[BuiltArm](
    name="causality",
    when="before",
    severities=("note", "doubt", "invalid"),
    sees="A logit that moves by more than 1e-9 in float64 when a later token changes, with random weights, in training "
    "and in evaluation mode, and once with matrices 1,000 times as large, where a mask by a finite number opens; it "
    "names the part. Doubt where a model cannot be tried, a note where only the order moves "
    "in which noise is drawn.",
    misses="A leak that opens only in longer windows than 128 tokens (32 for large models), or only between two "
    "neighbours that none of 17 places separates. A custom `loss` that reads the targets. A leak that needs rare "
    "tokens, or that opens only after training has gone on: it is tried at random weights and before the first step.",
    cost="10 passes over six to eight short sequences in float64, for these three checks together",
    needs="model",
    find=_look_for_leaks,
)

ROW_LEAKAGE = Check[BuiltArm](
    name="row leakage",
    when="before",
    severities=("note", "invalid"),
    sees="A logit that moves by more than 1e-9 when another sequence of the batch changes, such as under batch norm. A "
    "note where only the order moves in which noise is drawn.",
    misses="A leak that needs a large batch, such as a capacity that eight sequences do not fill.",
    cost="none besides causality",
    needs="model",
    find=_look_for_leaks,
)

STATE_BETWEEN_PASSES = Check[BuiltArm](
    name="state between passes",
    when="before",
    severities=("invalid",),
    sees="A logit that moves by more than 1e-9 once the model has seen another batch: what a part keeps in an "
    "attribute, or in a buffer that evaluation moves.",
    misses="What only training keeps in a buffer, such as running statistics, by design. State that a gradient moves.",
    cost="none besides causality",
    needs="model",
    find=_look_for_leaks,
)


def find_leaks(arm: str, model: nn.Module, spec: Spec, vocab_size: int, length: int) -> Iterator[Finding]:
    """Look whether later tokens, other rows, or earlier batches move what ``model`` (in float64) says.

    Tried in training and in evaluation mode: a norm over the batch leaks in training alone. One row of a batch is left
    as it is, every other one is changed from a place of its own on: the one must stand still, and the others up to
    their places. The weights of ``model`` are lost.
    """
    leaks: dict[str, Finding] = {}
    for trial, (draw, training, enlarged) in enumerate(_TRIALS):
        randomize(model, draw)
        _enlarge(model, enlarged)
        model.train(training)
        changes = _changes(length, trial)
        before = _sprinkle(draw_tokens(vocab_size, len(changes), length, seed=draw), vocab_size, seed=1)
        after = _changed(before, changes, vocab_size)
        with nullcontext() if training else preserving(model):
            said, moved, trouble = _say_both(arm, model, before, after)
            if trouble and enlarged > 1:
                break  # such weights overflow, which says nothing of a mask
            if not trouble:
                distances = [_largest(row[: change.t + 1]) for row, change in zip(moved - said, changes, strict=True)]
                allowed = EXACT * max(1.0, _largest(said)) if enlarged > 1 else EXACT
                stands_still = max(distances) <= allowed
                if draw == 0 or not stands_still:  # once in each mode is enough
                    trouble = _find_unsteady(arm, model, spec, before, after)
                if stands_still and not trouble:
                    continue
        if trouble:
            yield trouble
            break
        # A row alone tells a leak in time from one between rows.
        alone = [(_moved_by(model, p), p) for p in _time_probes(before, after, changes)]
        far, probe = max(alone, key=lambda pair: pair[0], default=(0.0, None))
        if probe and far > allowed and not _is_found("causality", leaks):
            leaks["causality"] = _leak(arm, model, spec, probe, far, training, allowed)
        still = changes.index(_STILL)
        if (distances[still] > allowed or far <= allowed) and not _is_found("row leakage", leaks):
            row = still if distances[still] > allowed else distances.index(max(distances))
            probe = _row_probe(before, after, row, changes[row].t)
            leaks["row leakage"] = _leak(arm, model, spec, probe, distances[row], training, allowed)
    yield from leaks.values()


@torch.no_grad()
def _enlarge(model: nn.Module, times: float) -> None:
    """Multiply every matrix; scores of attention grow with the square."""
    if times != 1:
        for p in model.parameters():
            p.mul_(times if p.ndim >= 2 else 1.0)


def _is_found(check: str, leaks: Mapping[str, Finding]) -> bool:
    return check in leaks and leaks[check].severity == "invalid"


@dataclass(frozen=True)
class _Change:
    """Which tokens of a row change: those after place ``t``, or the one after it alone."""

    t: int
    alone: bool = False


_STILL = _Change(sys.maxsize)  # a row that does not change


@dataclass(frozen=True)
class _Probe:
    """One experiment.

    Args:
        check: the check it belongs to.
        before, after: (B, T) tokens that differ in what must not matter.
        keep: cuts from an activation what must not move.
        said: what was changed and what must not move.
        evidence: the same in numbers.
    """

    check: str
    before: Tensor
    after: Tensor
    keep: Keep
    said: str
    evidence: dict[str, Any]


def _changes(length: int, trial: int) -> list[_Change]:
    """The changes of a trial, by row: each has the last place and a lonely token, and a third of all others."""
    if length < 2:
        return [_STILL]
    generator = torch.Generator().manual_seed(derive(0, "audit", "places", length))
    drawn = torch.randperm(length, generator=generator).tolist()
    places = [t for t in dict.fromkeys((*_BORDERS, *drawn)) if t < length - 2][:_PLACES]
    return [
        _Change(length - 2),
        *(_Change(t) for t in places[trial :: len(_TRIALS)]),
        _STILL,  # among the others: rows before it may leak, or rows after it
        _Change(length // 2 - 1, alone=True),
    ]


def _changed(before: Tensor, changes: list[_Change], vocab_size: int) -> Tensor:
    others, after = _sprinkle(_other_tokens(before, vocab_size), vocab_size, seed=2), before.clone()
    for row, change in enumerate(changes):
        until = change.t + 2 if change.alone else before.shape[1]
        after[row, change.t + 1 : until] = others[row, change.t + 1 : until]
    return after


def _time_probes(before: Tensor, after: Tensor, changes: list[_Change]) -> list[_Probe]:
    """Each changed row by itself."""
    probes = []
    for row, change in enumerate(changes):
        if change is _STILL:
            continue
        what = "the token" if change.alone else "the tokens"
        said = f"changing {what} after position {change.t} moves logits up to there"
        evidence = {"position": change.t, "changed": "the next" if change.alone else "all after"}
        one, other = before[row : row + 1], after[row : row + 1]
        probes.append(_Probe("causality", one, other, _until(change.t, 1, before.shape[1]), said, evidence))
    return probes


def _row_probe(before: Tensor, after: Tensor, row: int, t: int) -> _Probe:
    """That row, whose tokens stay up to position ``t``, and all others."""
    said = "changing other sequences of a batch moves the logits of one"
    evidence = {"rows": len(before), "row": row}
    return _Probe("row leakage", before, after, _one_row(row, t, *before.shape), said, evidence)


def _say_both(arm: str, model: nn.Module, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Finding | None]:
    """What the model says of two batches, and why the two cannot be compared, where that is so."""
    nothing = torch.zeros(0)
    try:
        said, moved = _say(model, before), _say(model, after)
    except Exception as error:  # it ran in float32: the user's part has an opinion on types
        why = f"it does not run in float64 ({type(error).__name__}: {str(error).splitlines()[0][:80]})"
        return nothing, nothing, _untestable(arm, model, why, None)
    if not said.isfinite().all():
        why = "its logits are not finite at random weights"
        return nothing, nothing, _untestable(arm, model, why, float((~said.isfinite()).sum()))
    return said, moved, None


def _find_unsteady(arm: str, model: nn.Module, spec: Spec, before: Tensor, after: Tensor) -> Finding | None:
    """Why the model says something else of two rows, asked for the second time; None where it does not."""
    some = before[:2]
    far = _largest(_say(model, some) - _say(model, some))
    if far <= EXACT:
        return None
    if _remembers(model, before, after):
        return _state(arm, model, spec, before, after, far)
    why = f"two equal passes under one random stream differ by {far:.2g} in {_mode(model)} mode"
    return _untestable(arm, model, why, far)


def _say(model: nn.Module, tokens: Tensor) -> Tensor:
    """Logits, in evaluation with the model's own buffers: training may move them, such as running statistics."""
    if model.training:
        return forward_exactly(model, tokens)
    with torch.no_grad(), fixed_noise(0), float64_arithmetic():
        return model(tokens)


def _remembers(model: nn.Module, before: Tensor, after: Tensor) -> bool:
    """Whether what the model says follows from what it was shown before, and not from noise that nothing fixes."""
    one, other = ([_say(model, tokens) for tokens in (after, before)][1] for _ in range(2))
    if _largest(one - other) <= EXACT:
        return True
    try:
        one, other = (_say(copy.deepcopy(model), before) for _ in range(2))
    except Exception:  # what the user's part keeps may be no more than this process can copy
        return False
    return _largest(one - other) <= EXACT


def _state(arm: str, model: nn.Module, spec: Spec, before: Tensor, after: Tensor, far: float) -> Finding:
    first = _watch(model, before, lambda x: x, _say)
    _say(model, after)
    path = _first_moved(first, _watch(model, before, lambda x: x, _say))
    cls = type(model.get_submodule(path)).__name__
    return Finding(
        check="state between passes",
        severity="invalid",
        message=f"{arm!r} says something else of a batch once it has seen another one: its logits move by {far:.2g} in "
        f"{_mode(model)} mode; it begins in {cls} at {path or 'model'}",
        arm=arm,
        site=site_of(path, spec) or path or "model",
        evidence={"moved": far, "allowed": EXACT, "module": path, "class": cls, "mode": _mode(model)},
        remedy="start every forward pass afresh; the order of evaluation must not move a score",
    )


def _moved_by(model: nn.Module, probe: _Probe) -> float:
    """How far the experiment moves what must not move."""
    said, moved = _say(model, probe.before), _say(model, probe.after)
    here, there = probe.keep(said), probe.keep(moved)
    assert here is not None and there is not None  # logits have the axes that are told
    return _largest(here - there)


def _sprinkle(tokens: Tensor, vocab_size: int, seed: int) -> Tensor:
    """Every eighth token, drawn at random, is one at the ends of the vocabulary, where separators and padding stand."""
    generator = torch.Generator().manual_seed(seed)
    special = torch.tensor([0, vocab_size - 1])[torch.randint(2, tokens.shape, generator=generator)]
    return torch.where(torch.rand(tokens.shape, generator=generator) < 1 / 8, special, tokens)


def _other_tokens(tokens: Tensor, vocab_size: int) -> Tensor:
    """A different token everywhere."""
    generator = torch.Generator().manual_seed(0)
    return (tokens + torch.randint(1, max(2, vocab_size), tokens.shape, generator=generator)) % vocab_size


def _largest(difference: Tensor) -> float:
    return difference.abs().nan_to_num(nan=torch.inf).max().item() if difference.numel() else 0.0


def _mode(model: nn.Module) -> str:
    return "training" if model.training else "evaluation"


def _until(t: int, rows: int, length: int) -> Keep:
    """Positions 0 to t of (B, T, ...), (B*T, ...) or (..., T, K)."""

    def keep(x: Tensor) -> Tensor | None:
        if x.ndim >= 2 and tuple(x.shape[:2]) == (rows, length):
            return x[:, : t + 1]
        if x.ndim >= 1 and x.shape[0] == rows * length:
            return x.unflatten(0, (rows, length))[:, : t + 1]
        if x.ndim >= 3 and x.shape[-2] == length:
            return x[..., : t + 1, :]
        return None

    return keep


def _one_row(row: int, t: int, rows: int, length: int) -> Keep:
    """Positions 0 to t of one row of (B, T, ...) or (B*T, ...); of (B, ...) the row."""

    def keep(x: Tensor) -> Tensor | None:
        if x.ndim >= 1 and x.shape[0] == rows * length:
            x = x.unflatten(0, (rows, length))
        if x.ndim >= 1 and x.shape[0] == rows:
            return x[row, : t + 1] if x.ndim >= 2 and x.shape[1] == length else x[row]
        return None

    return keep


def _leak(
    arm: str, model: nn.Module, spec: Spec, probe: _Probe, moved: float, training: bool, allowed: float
) -> Finding:
    path = _blame(model, probe)
    site = site_of(path, spec)
    cls = type(model.get_submodule(path)).__name__
    with constant_noise():
        if _moved_by(model, probe) <= allowed:
            return _order_of_noise(arm, spec, probe, moved, path)
    mode = "training" if training else "evaluation"
    remedy = {
        "causality": "mask the future in this part; an output may depend on its own and earlier tokens only",
        "row leakage": "keep sequences apart: no statistics, sorting or capacity over the batch",
    }[probe.check]
    return Finding(
        check=probe.check,
        severity="invalid",
        message=f"in {arm!r}, {probe.said} by {moved:.2g} in {mode} mode; it begins in {cls} at {path or 'model'}",
        arm=arm,
        site=site or path or "model",
        evidence={"moved": moved, "allowed": allowed, "module": path, "class": cls, "mode": mode, **probe.evidence},
        remedy=remedy,
    )


def _order_of_noise(arm: str, spec: Spec, probe: _Probe, moved: float, path: str) -> Finding:
    return Finding(
        check=probe.check,
        severity="note",
        message=f"in {arm!r}, {probe.said} by {moved:.2g}, and not at all where all noise is one number: what moves is "
        "which random number goes where",
        arm=arm,
        site=site_of(path, spec) or path or "model",
        evidence={"moved": moved, "allowed": EXACT, "module": path, **probe.evidence},
        remedy="none: noise that is drawn in another order tells nothing of the tokens",
    )


def _blame(model: nn.Module, probe: _Probe) -> str:
    return _first_moved(_watch(model, probe.before, probe.keep), _watch(model, probe.after, probe.keep))


Calls = list[tuple[str, list[Tensor], list[Tensor]]]
"""Calls of modules, innermost first: the path, and what must not move of inputs and outputs."""


def _first_moved(calls: Calls, others: Calls) -> str:
    """Path of the innermost module whose inputs stay where its output moves, in order of the forward pass."""
    for (path, inputs, outputs), (_, other_inputs, other_outputs) in zip(calls, others, strict=False):
        if inputs and outputs and not _moved(inputs, other_inputs) and _moved(outputs, other_outputs):
            return path
    return ""


def _watch(
    model: nn.Module, tokens: Tensor, keep: Keep, say: Callable[[nn.Module, Tensor], Any] = forward_exactly
) -> Calls:
    calls = []

    def hook(path: str) -> Any:
        def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.append((path, _kept((*args, *kwargs.values()), keep), _kept((output,), keep)))

        return record

    handles = [m.register_forward_hook(hook(path), with_kwargs=True) for path, m in model.named_modules()]
    try:
        say(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _kept(values: Any, keep: Keep) -> list[Tensor]:
    flat = [item for value in values for item in (value if isinstance(value, tuple | list) else (value,))]
    kept = [keep(item) for item in flat if isinstance(item, Tensor)]
    return [item.clone() for item in kept if item is not None]


def _moved(left: list[Tensor], right: list[Tensor]) -> bool:
    if [x.shape for x in left] != [x.shape for x in right]:
        return True
    return any(x.numel() and _largest(x.double() - y.double()) > EXACT / 1e3 for x, y in zip(left, right, strict=True))


def _untestable(arm: str, model: nn.Module, why: str, number: float | None) -> Finding:
    return Finding(
        check="causality",
        severity="doubt",
        message=f"whether {arm!r} sees the future cannot be told: {why}",
        arm=arm,
        evidence={"number": number, "mode": _mode(model)},
        remedy="draw noise from torch's default generator, keep no state between passes, take any floating type",
    )
