"""Factorial studies: several changes at once, each in half of the arms.

Source: Box, Hunter and Hunter 2005, Statistics for Experimenters, 2nd edition, chapters 5 (factorial designs at two
levels) and 6 (fractional factorial designs).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from paribus.design.contrasts import Contrast
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Arm, Study
from paribus.design.tuning import set_hyperparameters
from paribus.design.wording import suggest
from paribus.errors import ParibusError, StudyError

Effect = frozenset[str]
"""The factors of a main effect (one) or of an interaction (several)."""

_RECIPE = "training."
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
_WRITTEN_BETWEEN = (" + ", ":", " = ")  # factors, in the names of arms and effects
_LONGEST = 100  # characters: an arm's name heads columns and starts sentences
_MADE_HERE = ("treatments", "changes", "contrasts")


def factorial(
    *,
    question: str,
    baseline: Spec,
    factors: Mapping[str, Mapping[str, Any]],
    training: Training,
    interactions: int = 2,
    generators: Mapping[str, Sequence[str]] | None = None,
    **fields: Any,
) -> Study:
    """The study of k changes in all 2^k combinations, or in a fraction of them.

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
        generators: factor to the factors whose product it follows: ``{"D": ("A", "B", "C")}`` makes the eight arms of
            2^(4-1) in which D = ABC. So that the baseline is one of them, a product of an even number has a minus:
            ``{"C": ("A", "B")}`` is C = -AB. Effects that then coincide are estimated once: ``A:B = C:D``.
        fields: the other fields of ``Study``.

    Raises StudyError for factors that change nothing or the same thing, and for generators by which two main effects
    coincide.
    """
    if taken := [name for name in _MADE_HERE if name in fields]:
        raise StudyError(f"factorial makes {taken[0]} from the factors; leave it out")
    names = _require_factors(factors, interactions)
    words = _defining_words(names, generators or {})
    switched = _switch(names, generators or {})
    edits = _read_edits(factors, baseline, training)
    arms = {" + ".join(name for name in names if name in on) or BASELINE: on for on in switched}
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
    contrasts = dict(_contrasts(names, interactions, words, arms))
    return Study(
        question=question,
        baseline=baseline,
        treatments=treatments,
        changes=changes,
        contrasts=contrasts,
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


def _defining_words(names: Sequence[str], generators: Mapping[str, Sequence[str]]) -> list[Effect]:
    """The products of factors that are constant in the fraction. Raises StudyError below resolution III."""
    if not isinstance(generators, Mapping):
        raise StudyError(f'generators is a dict such as {{"D": ("A", "B", "C")}}, got {generators!r}')
    free = [name for name in names if name not in generators]
    for name, product in generators.items():
        _require_known(name, names, "generators")
        if isinstance(product, str) or not isinstance(product, Sequence) or not product:
            raise StudyError(f"the generator of {name!r} is a tuple of factors, got {product!r}")
        for factor in product:
            _require_known(factor, names, f"the generator of {name!r}")
            if factor not in free:
                raise StudyError(f"the generator of {name!r} names {factor!r}, which has a generator or is {name!r}")
        if len(set(product)) < len(product):
            raise StudyError(f"the generator of {name!r} names a factor twice: {tuple(product)!r}")
    words = list(_multiply(Effect((name, *product)) for name, product in generators.items()))
    shortest = min(words, key=len, default=None)
    if shortest and len(shortest) < 3:
        one, other = (name for name in names if name in shortest)
        raise StudyError(
            f"resolution {_ROMAN[len(shortest)]}: the main effects of {one!r} and {other!r} coincide, since both are "
            f"on in the same arms or never together; {_suggest(free, list(generators))}"
        )
    return words


def _multiply(words: Iterable[Effect]) -> Iterator[Effect]:
    """Every product of one word or more; a factor that comes twice is gone."""
    all_words = list(words)
    for number in range(1, len(all_words) + 1):
        for some in itertools.combinations(all_words, number):
            product = Effect()
            for word in some:
                product ^= word
            yield product


def _suggest(free: Sequence[str], generated: Sequence[str]) -> str:
    """Generators of the largest resolution that a greedy search finds."""
    products = [Effect(some) for n in range(len(free), 1, -1) for some in itertools.combinations(free, n)]
    if len(products) < len(generated):
        return f"the {len(free)} factors without a generator allow {len(products)} others; give fewer generators"
    chosen: list[Effect] = []
    for name in generated:
        left = [product | {name} for product in products if not any(product | {n} in chosen for n in generated)]
        chosen.append(max(left, key=lambda word: min(map(len, _multiply(iter([*chosen, word]))))))
    resolution = min(map(len, _multiply(iter(chosen))))
    better = {name: tuple(f for f in free if f in word) for name, word in zip(generated, chosen, strict=True)}
    return f"generators={better} have resolution {_ROMAN[min(resolution, 10)]}"


def _switch(names: Sequence[str], generators: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Per arm the factors that are on, in their order; the baseline first, then the first factor changes fastest."""
    free = [name for name in names if name not in generators]
    arms = []
    for bits in itertools.product((False, True), repeat=len(free)):
        on = dict(zip(free, reversed(bits), strict=True))
        for name, product in generators.items():
            # The product of levels -1 and +1, with the sign that leaves it off where all are off.
            off = sum(not on[factor] for factor in product)
            on[name] = (len(product) - off) % 2 == 1
        arms.append(tuple(name for name in names if on[name]))
    return arms


def _contrasts(
    names: Sequence[str], interactions: int, words: Sequence[Effect], arms: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Contrast]]:
    seen: set[Effect] = set()
    for number in range(1, interactions + 1):
        for effect in map(Effect, itertools.combinations(names, number)):
            if effect in seen:
                continue
            alike = {effect, *(effect ^ word for word in words)}
            if Effect() in alike:
                raise StudyError(
                    f"{_write(effect, names)} is the same in all arms of this fraction and cannot be estimated; "
                    f"interactions={number - 1} leaves it out"
                )
            seen |= alike
            order = sorted(alike, key=lambda e: (e != effect, len(e), sorted(map(names.index, e))))
            contrast = Contrast(
                {arm: math.prod(1 if f in on else -1 for f in effect) * 2 / len(arms) for arm, on in arms.items()},
                tuple(tuple(name for name in names if name in e) for e in order),
            )
            label = f"effect of {_write(effect, names)}" if number == 1 else _write(effect, names)
            yield " = ".join((label, *contrast.aliases(interactions))), contrast


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
    fields = {field.name for field in dataclasses.fields(Training)}
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


def _write(effect: Effect, names: Sequence[str]) -> str:
    return ":".join(name for name in names if name in effect)


def _require_known(name: Any, names: Sequence[str], where: str) -> None:
    if name not in names:
        raise StudyError(f"{where} names no factor {name!r}; {suggest(name, names)}")
