"""What differs between the baseline and a treatment, and whether the study said so."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.before.factors import find_joined_factors
from paribus.audits.checks import Check
from paribus.design.differences import Difference, compare_specs
from paribus.design.specs import Spec
from paribus.design.study import Study
from paribus.design.trees import describe
from paribus.design.wording import list_some, write_count
from paribus.store.records import Finding


def _look_at_differences(built: BuiltStudy) -> Iterator[Finding]:
    return find_differences(built.study)


SITES_CHANGED = Check[BuiltStudy](
    name="sites changed",
    when="before",
    severities=("note", "invalid"),
    sees="A treatment equal to the baseline in model and recipe (invalid, unless the study calls it null). A treatment "
    "that changes fewer than all sites of a kind (note).",
    misses="A class of another name with the same code. A change inside a class that both arms use.",
    cost="none",
    needs="specs",
    find=_look_at_differences,
)

SEVERAL_DIFFERENCES = Check[BuiltStudy](
    name="several differences",
    when="before",
    severities=("note",),
    sees="More than one kind of change in one treatment, the recipe included, and which of them have an arm of their "
    "own; from the baseline, or from another treatment with the same new class. An argument, such as eps, whose value "
    "changes along with the class of its site.",
    misses="Two changes made inside one new class. Defaults of another name.",
    cost="none",
    needs="specs",
    find=_look_at_differences,
)

UNDECLARED_DIFFERENCE = Check[BuiltStudy](
    name="undeclared difference",
    when="before",
    severities=("note", "doubt"),
    sees="A difference that no pattern in `changes` names (doubt). A pattern that nothing matches (note). An arm "
    "without an entry in `changes` may differ anywhere in its model, and nowhere in its recipe.",
    misses="What a pattern as wide as `*` lets pass.",
    cost="none",
    needs="specs",
    find=_look_at_differences,
)


def find_differences(study: Study) -> Iterator[Finding]:
    """Treatments that change nothing, not all, several things, or something the study does not declare."""
    for arm in study.treatments:
        difference = compare_specs(study, arm)
        if not difference.changes:
            if arm not in study.null:
                yield _nothing_changed(arm)
            continue
        if difference.model and len(difference.sites) < difference.n_alike:
            yield _some_sites(difference)
        yield from find_joined_factors(study, arm)
        yield from _moved_along(study, difference)
        yield from _undeclared(study, difference)


def _nothing_changed(arm: str) -> Finding:
    return Finding(
        check="sites changed",
        severity="invalid",
        message=f"{arm!r} has 0 sites changed: its model and its recipe are the baseline's",
        arm=arm,
        evidence={"sites_changed": 0},
        remedy=f"change something, or declare it: Study(null=({arm!r},))",
    )


def _some_sites(difference: Difference) -> Finding:
    n, m = len(difference.sites), difference.n_alike
    return Finding(
        check="sites changed",
        severity="note",
        message=f"{difference.arm!r} changes {n} of {write_count(m, 'site')} of this kind: "
        f"{list_some(difference.sites)}",
        arm=difference.arm,
        site=difference.sites[0] if n == 1 else None,
        evidence={"sites_changed": n, "sites_alike": m, "sites": list(difference.sites)},
        remedy='if all of them were meant, replace by a pattern that matches all, such as "*norm"',
    )


def _moved_along(study: Study, difference: Difference) -> Iterator[Finding]:
    """Numbers that change because a class does: arguments of one name whose values differ, such as eps.

    Not a width that was solved for: what it makes equal is told elsewhere.
    """
    solved = study.treatments[difference.arm].width
    found: dict[str, dict[str, list[str]]] = {}
    for change in difference.model:
        if not (isinstance(change.before, Spec) and isinstance(change.after, Spec)):
            continue
        before, after = change.before.resolved(), change.after.resolved()
        for name in before.keys() & after.keys():
            pair = before[name], after[name]
            if solved and fnmatchcase(f"{change.path}.{name}", solved):
                continue
            if pair[0] != pair[1] and not any(isinstance(value, Spec | tuple) for value in pair):
                said = f"from {describe(pair[0])} to {describe(pair[1])}"
                found.setdefault(name, {}).setdefault(said, []).append(change.path)
    for name, moves in sorted(found.items()):
        moved = [f"{said} at {write_count(len(sites), 'site')}" for said, sites in moves.items()]
        yield Finding(
            check="several differences",
            severity="note",
            message=f"{difference.arm!r} also changes {name} {list_some(moved)}",
            arm=difference.arm,
            evidence={"argument": name, "sites": {said: len(sites) for said, sites in moves.items()}},
            remedy=f"write the baseline's {name} into the new spec, unless the change is meant",
        )


def _undeclared(study: Study, difference: Difference) -> Iterator[Finding]:
    """An arm without an entry in ``changes`` may differ anywhere in its model, and nowhere in its recipe."""
    patterns = study.changes.get(difference.arm)
    free = () if patterns is None else difference.model
    stray = [c for c in (*free, *difference.recipe) if not is_declared(c.path, patterns or ())]
    if stray:
        allowed = ", ".join(map(repr, patterns)) if patterns else "the model alone" if patterns is None else "nothing"
        yield Finding(
            check="undeclared difference",
            severity="doubt",
            message=f"{difference.arm!r} differs in {write_count(len(stray), 'undeclared place')}: {list_some(stray)}",
            arm=difference.arm,
            site=stray[0].path,
            evidence={"undeclared": [str(change) for change in stray], "declared": list(patterns or ())},
            remedy=f"make them equal, or name them in changes[{difference.arm!r}]; it allows {allowed}",
        )
    for pattern in patterns or ():
        if not any(is_declared(change.path, (pattern,)) for change in difference.changes):
            yield Finding(
                check="undeclared difference",
                severity="note",
                message=f"{difference.arm!r} declares a change at {pattern!r}, and 0 changes are there",
                arm=difference.arm,
                site=pattern,
                evidence={"pattern": pattern, "matches": 0},
                remedy="remove the pattern, or make the change",
            )


def is_declared(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern allows ``path``: it matches the path, or something above it."""
    keys = path.split(".")
    above = [".".join(keys[: end + 1]) for end in range(len(keys))]
    return any(fnmatchcase(part, pattern) for pattern in patterns for part in above)
