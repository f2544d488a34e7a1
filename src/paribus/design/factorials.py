"""Factorial studies: several changes at once, each in half of the arms.

Source: Box, Hunter and Hunter 2005, Statistics for Experimenters, 2nd edition, chapter 5 (factorial designs at two
levels).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from paribus.design.contrasts import Contrast
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Arm, Study
from paribus.design.tuning import set_hyperparameters
from paribus.errors import ParibusError, StudyError

_RECIPE = "training."
_WRITTEN_BETWEEN = (" + ", ":")  # factors, in the names of arms and effects
_LONGEST = 100  # characters: an arm's name heads columns and starts sentences
_MADE_HERE = ("treatments", "changes", "contrasts")


def factorial(
    *,
    question: str,
    baseline: Spec,
    factors: Mapping[str, Mapping[str, Any]],
    training: Training,
    interactions: int = 2,
    **fields: Any,
) -> Study:
    """The study of k changes in all 2^k combinations.

    The arms are ``"A"``, ``"B"``, ``"A + B"`` and so on; the baseline is all off. On each seed, with n arms:

    * effect of A = mean of the arms with A - mean of those without;
    * A:B = half the difference between the effect of A with B and without B, averaged over the other factors;
      A:B:C = half the difference between A:B with C and without; and so on.

    Each is a contrast with weights +-2/n, so their standard errors are equal. Contrasts share the error rate; the arms
    themselves are described, unless ``primary`` names some, which then share it too.

    Args:
        factors: name to what it changes: path patterns to values, as in ``Spec.replace``. Paths of the recipe start
            with ``training.``: a field (``training.clip``), a path below its optimizer or schedule
            (``training.optimizer.lr``), or ``training.learning_rate``, which multiplies every rate.
        interactions: estimate interactions of up to so many factors; 1: main effects alone.
        fields: the other fields of ``Study``.

    Raises StudyError for factors that change nothing or the same thing.
    """
    if taken := [name for name in _MADE_HERE if name in fields]:
        raise StudyError(f"factorial makes {taken[0]} from the factors; leave it out")
    names = _require_factors(factors, interactions)
    edits = _read_edits(factors, baseline, training)
    arms = {" + ".join(on) or BASELINE: on for on in _combine(names)}
    if len(longest := max(arms, key=len)) > _LONGEST:
        raise StudyError(
            f"the names of the factors make an arm's name of {len(longest)} characters, {_LONGEST} at most: "
            f"{longest!r}; shorten them"
        )
    treatments, changes = {}, {}
    for arm, on in arms.items():
        if on:
            model, recipe = baseline, training
            for name in on:
                model, recipe = _apply(name, factors[name], model, recipe)
            treatments[arm] = Arm(model) if recipe == training else Arm(model, recipe)
            changes[arm] = tuple(dict.fromkeys(path for name in on for path in edits[name]))
    return Study(
        question=question,
        baseline=baseline,
        treatments=treatments,
        changes=changes,
        contrasts=dict(_contrasts(names, interactions, arms)),
        training=training,
        **fields,
    )


def _require_factors(factors: Any, interactions: Any) -> tuple[str, ...]:
    if not isinstance(factors, Mapping) or not all(isinstance(edits, Mapping) and edits for edits in factors.values()):
        raise StudyError(
            'factors is a dict from a name to what it changes, such as {"wide": {"*.mlp.d_ff": 384}}, '
            f"got {factors!r}"[:300]
        )
    for name in factors:
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name == BASELINE:
            raise StudyError(f"a factor cannot be called {name!r}")
        if name != name.strip():
            raise StudyError(f"a factor cannot be called {name!r}, with blanks around it; write {name.strip()!r}")
        if sign := next((sign for sign in _WRITTEN_BETWEEN if sign in name), None):
            raise StudyError(
                f"a factor cannot be called {name!r}: {sign!r} stands between factors in the names of arms and effects"
            )
    if len(factors) < 2:
        raise StudyError(f"a factorial study has at least two factors, got {len(factors)}; for one write a Study")
    if not isinstance(interactions, int) or isinstance(interactions, bool) or not 1 <= interactions <= len(factors):
        raise StudyError(
            f"interactions is the largest number of factors of an effect, 1 to {len(factors)}; got {interactions!r}"
        )
    return tuple(factors)


def _combine(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Per arm the factors that are on; the baseline first, then the first factor changes fastest."""
    for bits in itertools.product((False, True), repeat=len(names)):
        yield tuple(name for name, on in zip(names, reversed(bits), strict=True) if on)


def _contrasts(
    names: Sequence[str], interactions: int, arms: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Contrast]]:
    for number in range(1, interactions + 1):
        for effect in itertools.combinations(names, number):
            weights = {
                arm: math.prod(1 if factor in on else -1 for factor in effect) * 2 / len(arms)
                for arm, on in arms.items()
            }
            yield f"effect of {effect[0]}" if number == 1 else ":".join(effect), Contrast(weights, effect)


def _read_edits(
    factors: Mapping[str, Mapping[str, Any]], baseline: Spec, training: Training
) -> dict[str, tuple[str, ...]]:
    """Per factor the patterns it declares. Raises StudyError where two of them cannot be told apart."""
    declared, changed = {}, {}
    for name, edits in factors.items():
        model, recipe = _apply(name, edits, baseline, training)
        moved = [change.path for change in training.diff(recipe)]
        changed[name] = [change.path for change in baseline.diff(model)] + moved
        if not changed[name]:
            raise StudyError(f"factor {name!r} changes nothing")
        declared[name] = (*(pattern for pattern in edits if not pattern.startswith(_RECIPE)), *moved)
    for one, other in itertools.combinations(factors, 2):
        shared = [
            path
            for path, twin in itertools.product(changed[one], changed[other])
            if path == twin or path.startswith(f"{twin}.") or twin.startswith(f"{path}.")
        ]
        if shared:
            raise StudyError(
                f"factors {one!r} and {other!r} both change {shared[0]!r}: with both on, one undoes another"
            )
        there, back = (
            _apply(second, factors[second], *_apply(first, factors[first], baseline, training))
            for first, second in ((one, other), (other, one))
        )
        if there != back:
            raise StudyError(
                f"factors {one!r} and {other!r} make another model in another order: the pattern of one matches inside "
                "what the other puts in; write it more narrowly"
            )
    return declared


def _apply(name: str, edits: Mapping[str, Any], model: Spec, training: Training) -> tuple[Spec, Training]:
    fields = attrs.fields_dict(Training)
    try:
        for pattern, value in edits.items():
            if not pattern.startswith(_RECIPE):
                model = model.replace(pattern, value)
            elif (path := pattern.removeprefix(_RECIPE)) in fields:
                training = training.replace(**{path: value})
            else:
                training = set_hyperparameters(training, {path: value})
    except ParibusError as error:
        raise StudyError(f"factor {name!r}: {error}") from None
    return model, training
