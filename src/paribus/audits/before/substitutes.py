"""Arms that train to the baseline's bits, and arms that train to other bits each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.before.same_function import same_as_baseline
from paribus.audits.checks import Check
from paribus.audits.instruments.models import blaming, draw_tokens, fixed_noise
from paribus.audits.instruments.observation import Observed
from paribus.audits.instruments.sites import is_foreign
from paribus.design.recipe import Training
from paribus.design.study import BASELINE, Study
from paribus.design.wording import list_some, write_count
from paribus.nn.contract import build_model, roles
from paribus.nn.matrices import find_blocks
from paribus.store.records import Finding
from paribus.training.objective import whole_logits
from paribus.training.optim import NO_BLOCKS, build_optimizer, takes_blocks
from paribus.training.step import Stepper

STEPS = 3
_ROWS = 2

Remembered = dict[tuple[str, str], Any]
"""Path of a module and name of its buffer, or of its plain number, to the value."""

SILENT_SUBSTITUTE = Check[BuiltStudy](
    name="silent substitute",
    when="before",
    severities=("doubt", "invalid"),
    sees="An arm that computes the baseline's function and whose logits, in training and in evaluation, still have the "
    "baseline's bits after each of three steps, from the real initial weights with the real optimizer: a fallback, or "
    "an argument that nothing reads. A doubt where the arm counts steps, in a buffer or in a plain number of a class "
    "of your own, and so may differ later. Not asked of null arms.",
    misses="A substitute that starts from other weights or stores them in other shapes, such as ordinary attention "
    "from separate projections in a class of your own. A change after the third step whose steps are counted "
    "elsewhere.",
    cost="none but for arms of the same function: three steps on two windows",
    needs="models",
    find=lambda built: find_substitutes(built.study, same_as_baseline(built.study, built.outputs), built.observed),
)

UNSTEADY_TRAINING = Check[BuiltStudy](
    name="unsteady training",
    when="before",
    severities=("doubt",),
    sees="A recipe whose optimizer is neither torch's nor paribus's, and whose first three steps, taken twice from one "
    "seed, give other bits: noise from a generator that nothing seeds.",
    misses="Noise that sets in later. The training of arms with a built-in optimizer is not tried.",
    cost="none without such an optimizer; else six steps on two windows for each recipe",
    needs="models",
    find=lambda built: find_unsteady_training(built.study, built.observed),
)


def find_substitutes(study: Study, same: Iterable[str], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Of the arms ``same`` that compute the baseline's function: those whose first steps have the baseline's bits.

    Trained from the real initial weights with the real optimizer, on windows as long as the study's.
    Arms with a recipe of their own, declared null, or of the baseline's very spec, are left out. What counts steps
    may set in later, and is doubted alone.
    """
    for name in same:
        arm = study.arms[name]
        if name in study.null or arm.training != study.training or arm.model == study.baseline:
            continue
        recipe = study.training, study.first_seed
        with blaming(name):
            moments = list(_agreeing(_train(seen[BASELINE], *recipe), _train(seen[name], *recipe)))
        if len(moments) <= STEPS:
            continue
        theirs, mine = (_moved(moments[1][side], moments[-1][side]) for side in (0, 1))
        counters = [".".join(filter(None, place)) for place in mine if place not in theirs]
        yield _substitute(name, counters)


def find_unsteady_training(study: Study, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Recipes with an optimizer of the user's own whose first steps, taken twice, give other bits.

    Each recipe is tried with the first arm that has it; torch's generator is seeded alike, as it is in a run.
    """
    arms_of: dict[Training, list[str]] = {}
    for name, arm in study.arms.items():
        if is_foreign(arm.training.optimizer.cls):
            arms_of.setdefault(arm.training, []).append(name)
    for training, names in arms_of.items():
        with blaming(names[0]):
            apart = _first_apart(*(_train(seen[names[0]], training, study.first_seed) for _ in range(2)))
        if apart:
            yield _unsteady(names, training, *apart)


@dataclass(frozen=True)
class _Moment:
    """What a model says in training and in evaluation, (B, T, V) each, and what its modules remember."""

    training: Tensor
    evaluation: Tensor
    remembered: Remembered

    def equals(self, other: _Moment) -> bool:
        pairs = (self.training, other.training), (self.evaluation, other.evaluation)
        return all(torch.allclose(left, right, rtol=0, atol=0, equal_nan=True) for left, right in pairs)

    def apart(self, other: _Moment) -> float:
        gaps = (self.training - other.training).abs().max(), (self.evaluation - other.evaluation).abs().max()
        return max(gap.nan_to_num().item() for gap in gaps)


def _agreeing(baseline: Iterator[_Moment], arm: Iterator[_Moment]) -> Iterator[tuple[_Moment, _Moment]]:
    """The moments of both, up to the first that differs."""
    for pair in zip(baseline, arm, strict=True):
        if not pair[0].equals(pair[1]):
            return
        yield pair


def _first_apart(once: Iterator[_Moment], twice: Iterator[_Moment]) -> tuple[int, float] | None:
    """The first step after which two trainings differ, and by how much; None where none does."""
    for step, (one, other) in enumerate(zip(once, twice, strict=True)):
        if not one.equals(other):
            return step, one.apart(other)
    return None


def _moved(early: _Moment, late: _Moment) -> list[tuple[str, str]]:
    """What a step alone can have moved: the first pass may set what it likes."""
    return [
        place
        for place, value in late.remembered.items()
        if place in early.remembered and not torch.equal(*map(torch.as_tensor, (early.remembered[place], value)))
    ]


def _substitute(arm: str, counters: list[str]) -> Finding:
    told = "trains to the baseline's bits"
    if counters:
        message = f"{arm!r} {told} for the first {STEPS} steps; it counts steps, and may differ later: "
        message += list_some(counters)
    else:
        message = (
            f"{arm!r} {told}: its logits are equal before and after each of {STEPS} steps, in training and in "
            "evaluation, though its spec differs"
        )
    return Finding(
        check="silent substitute",
        severity="doubt" if counters else "invalid",
        message=message,
        arm=arm,
        evidence={"steps": STEPS, "largest_difference": 0.0, "counters": counters},
        remedy="look for a fallback to the baseline's part, or an argument that nothing reads; if it is meant "
        f"to be the same, declare it: Study(null=({arm!r},))",
    )


def _unsteady(arms: list[str], training: Training, step: int, apart: float) -> Finding:
    who = f"{arms[0]!r} trains" if len(arms) == 1 else f"{write_count(len(arms), 'arm')} train"
    return Finding(
        check="unsteady training",
        severity="doubt",
        message=f"{who} to other bits each time, with one seed: after {write_count(step, 'step')} of "
        f"{training.optimizer.cls.__name__} the logits of {arms[0]!r} differ by up to {apart:.1e}; such runs can be "
        "neither repeated nor paired",
        arm=arms[0] if len(arms) == 1 else None,
        evidence={"arms": arms, "step": step, "largest_difference": apart},
        remedy="draw from torch's default generator, which is seeded before every step, not from another one",
    )


def _train(arm: Observed, training: Training, seed: int) -> Iterator[_Moment]:
    """``arm`` before and after each of its first steps by the recipe ``training``."""
    model = build_model(arm.spec, seed, vocab_size=arm.vocab_size, seq_len=training.seq_len).train()
    sizes = arm.vocab_size, training.seq_len
    blocks = find_blocks(model, *sizes) if takes_blocks(training.optimizer) else NO_BLOCKS
    with fixed_noise(0):
        optimizer = build_optimizer(training.optimizer, model, roles(model), blocks)
    stepper = Stepper(model, optimizer, windows=_ROWS, clip=training.clip)
    shown = draw_tokens(arm.vocab_size, _ROWS, training.seq_len, seed=STEPS)
    yield _look(model, shown)
    for step in range(STEPS):
        tokens = draw_tokens(arm.vocab_size, _ROWS, training.seq_len + 1, seed=step)
        with fixed_noise(step), whole_logits():
            stepper.compute_gradients(tokens[:, :-1], tokens[:, 1:])
            stepper.apply_gradients()
        yield _look(model, shown)


def _look(model: nn.Module, tokens: Tensor) -> _Moment:
    said = {}
    for mode in (True, False):
        model.train(mode)
        with torch.no_grad(), fixed_noise(0):
            said[mode] = model(tokens)
    model.train()
    return _Moment(said[True], said[False], _remember(model))


def _remember(model: nn.Module) -> Remembered:
    found: Remembered = {}
    for path, module in model.named_modules():
        found.update({(path, name): b.clone() for name, b in module._buffers.items() if b is not None})
        if is_foreign(type(module)):
            numbers = {name: value for name, value in vars(module).items() if type(value) in (int, float)}
            found.update({(path, name): value for name, value in numbers.items()})
    return found
