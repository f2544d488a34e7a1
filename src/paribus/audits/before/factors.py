"""Several things that one treatment changes at once, and the arms that would tell them apart. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Arm, Study
from paribus.design.trees import Change, describe, site_of
from paribus.design.wording import list_some
from paribus.errors import SpecError
from paribus.store.records import Finding

WRITTEN = 80  # characters of a value in code


@dataclass(frozen=True)
class Factor:
    """One kind of change, told once however many sites it is made at.

    Args:
        said: what changes, in a few words.
        changes: where, and from what to what.
    """

    said: str
    changes: tuple[Change, ...]


def find_joined_factors(study: Study, arm: str) -> Iterator[Finding]:
    """A treatment that differs in several things at once, and which of them have an arm of their own.

    A treatment that differs from the baseline in one class is compared with the others that have the same class there.
    """
    origin, factors = _choose_origin(study, arm)
    if len(factors) < 2:
        return
    own, before = _own_arms(study, origin, factors), study.arms[origin]
    edits = {factor.said: write_edit(_called(origin), before, factor) for factor in factors}
    missing = [factor for factor in factors if factor.said not in own]
    if not missing:
        said = f"each has its own arm: {', '.join(map(repr, own.values()))}"
    elif own:
        said = f"{len(missing)} of them without an arm of their own"
    else:
        said = f"credited together for want of {len(factors)} arms with one each"
    beside = "" if origin == BASELINE else f" from {origin!r}"
    yield Finding(
        check="several differences",
        severity="note",
        message=f"{arm!r} differs{beside} in {len(factors)} things at once: "
        f"{list_some(factor.said for factor in factors)}; {said}",
        arm=arm,
        evidence={
            "n_kinds": len(factors),
            "kinds": [factor.said for factor in factors],
            "origin": origin,
            "one_factor_arms": [
                {"factor": factor.said, "arm": own.get(factor.said), "edit": edits[factor.said]} for factor in factors
            ],
        },
        remedy=f"add an arm for each, such as {edits[missing[0].said]}" if missing else "",
    )


@lru_cache(maxsize=1024)  # every pair of arms is asked for several times, and a diff reads many signatures
def split_factors(before: Arm, after: Arm) -> tuple[Factor, ...]:
    """The kinds of change from one arm to another, the model's first.

    A width that was solved for is none of them: it is what keeps the sizes equal.
    """
    sites = {"": before.model, **before.model.sites()}
    found: dict[str, list[Change]] = {}
    for change in before.model.diff(after.model):
        if after.width and fnmatchcase(change.path, after.width):
            continue
        if isinstance(change.before, Spec) and isinstance(change.after, Spec):
            said = f"{change.before.cls.__name__} -> {change.after.cls.__name__}"
        else:
            owner = site_of(change.path.rpartition(".")[0], before.model)
            argument = change.path[len(owner) + 1 if owner else 0 :]
            said = f"{sites[owner].cls.__name__}.{argument}: {describe(change.before)} -> {describe(change.after)}"
        found.setdefault(said, []).append(change)
    model = [Factor(said, tuple(changes)) for said, changes in found.items()]
    return *model, *(Factor(str(change), (change,)) for change in before.training.diff(after.training))


def write_edit(name: str, before: Arm, factor: Factor) -> str:
    """The code that makes ``factor`` alone: ``name.replace(pattern, value)``, ``name`` being what ``before`` is called.

    The pattern is the shortest of two keys or more that makes these changes and no others.
    """
    paths, value = sorted({change.path for change in factor.changes}), factor.changes[0].after
    if paths[0].startswith("training."):
        return _edit_recipe(name, factor.changes[0])
    written = _write(value)
    if "" in paths:
        return written
    for pattern in _patterns(paths):
        with suppress(SpecError):
            if set(before.model.diff(before.model.replace(pattern, value))) == set(factor.changes):
                return f'{name}.replace("{pattern}", {written})'
    return name + "".join(f'.replace("{path}", {written})' for path in paths)


def _choose_origin(study: Study, arm: str) -> tuple[str, tuple[Factor, ...]]:
    """The arm from which ``arm`` is told, and its factors from there.

    The baseline, unless all that differs from it is a class, which simpler treatments have too. Then the one from which
    every factor has an arm of its own; else the one with the fewest factors. None, where one is a single step away.
    """
    arms = study.arms
    factors = split_factors(arms[BASELINE], arms[arm])
    if len(factors) != 1:
        return BASELINE, factors
    classes = {name: _classes(study.baseline, other.model) for name, other in arms.items()}
    if not classes[arm]:
        return BASELINE, factors
    alike = {
        name: split_factors(other, arms[arm])
        for name, other in arms.items()
        if name != arm and classes[name] == classes[arm]
    }
    order = {name: (_count_given(other.model), place) for place, (name, other) in enumerate(arms.items())}
    simpler = [name for name in alike if order[name] < order[arm]]
    if not simpler or any(len(of) < 2 for of in alike.values()):
        return BASELINE, factors

    def rank(name: str) -> tuple[bool, int]:
        return len(_own_arms(study, name, alike[name])) < len(alike[name]), len(alike[name])

    origin = min(simpler, key=rank)
    return origin, alike[origin]


def _own_arms(study: Study, origin: str, factors: tuple[Factor, ...]) -> dict[str, str]:
    """By what a factor says, the arm that differs from ``origin`` in it alone."""
    arms = study.arms
    single = {name: split_factors(arms[origin], other) for name, other in arms.items() if name != origin}
    alone = {frozenset(of[0].changes): name for name, of in single.items() if len(of) == 1}
    found = {factor.said: alone.get(frozenset(factor.changes)) for factor in factors}
    return {said: name for said, name in found.items() if name}


@lru_cache(maxsize=256)
def _classes(baseline: Spec, model: Spec) -> frozenset[tuple[str, type]]:
    """Where a model has another class than the baseline's, and which."""
    changes = baseline.diff(model)
    return frozenset((c.path, c.after.cls) for c in changes if isinstance(c.before, Spec) and isinstance(c.after, Spec))


def _count_given(model: Spec) -> int:
    return sum(len(site.arguments) for site in (model, *model.sites().values()))


def _patterns(paths: list[str]) -> Iterator[str]:
    """Patterns that could match all ``paths``, from their common endings."""
    if len(paths) == 1:
        yield paths[0]
        return
    endings = [path.split(".")[::-1] for path in paths]
    common = 0
    while all(len(keys) > common and keys[common] == endings[0][common] for keys in endings):
        common += 1
    for length in (*range(2, common + 1), *([1] if common else [])):
        yield "*." + ".".join(endings[0][:length][::-1])
    if not common:
        last = [keys[0][::-1] for keys in endings]
        shared = next((i for i, letters in enumerate(zip(*last, strict=False)) if len(set(letters)) > 1), 0)
        if shared:
            yield "*" + last[0][:shared][::-1].lstrip("_")


def _edit_recipe(name: str, change: Change) -> str:
    field, _, inner = change.path.removeprefix("training.").partition(".")
    value = _write(change.after)
    if inner:
        value = f'training.{field}.replace("{inner}", {value})'
    return f"Arm({name}, training.replace({field}={value}))"


def _called(name: str) -> str:
    return name if name == BASELINE else f"treatments[{name!r}]"


def _write(value: Any) -> str:
    """``value`` as code, cut short where it is long."""
    text = repr(value) if isinstance(value, str) else describe(value)
    if isinstance(value, Spec):
        text = f"spec({', '.join([value.cls.__name__, *(f'{k}={_write(v)}' for k, v in value.arguments)])})"
    return text if len(text) <= WRITTEN else f"{text[: WRITTEN - 4]} ..."
