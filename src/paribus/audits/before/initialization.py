"""Do the arms start at one scale, and does the optimizer treat their tensors alike?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.checks import Check
from paribus.audits.instruments.observation import Observed
from paribus.audits.instruments.sites import is_ours
from paribus.design.differences import compare_specs
from paribus.design.study import BASELINE, Study
from paribus.design.trees import lies_under, site_of
from paribus.design.wording import write_count
from paribus.store.records import Finding

TOO_WIDE = 1.5  # ratio of standard deviations
TOO_LOUD = 3.0  # ratio of what two parts return, root mean square

INITIAL_SCALE = Check[BuiltStudy](
    name="initial scale",
    when="before",
    severities=("note", "doubt"),
    sees="Tensors of equal path and shape whose standard deviation at the start is 1.5 times the baseline's, or less "
    "than 1 / 1.5 of it: doubt where the whole model is the user's class or nothing above them changed, else a note. A "
    "changed part that returns three times, or a third of, what the baseline's does (note).",
    misses="Tensors of other names or shapes, other than by what their part returns. Constant tensors and those of "
    "fewer than 64 numbers.",
    cost="none besides hidden difference",
    needs="models",
    find=lambda built: find_other_scales(built.study, built.observed),
)

OPTIMIZER_GROUPS = Check[BuiltStudy](
    name="optimizer groups",
    when="before",
    severities=("doubt",),
    sees="Tensors of equal path and shape that the same recipe's optimizer trains with other settings, such as a "
    "learning rate, a weight decay or another rule.",
    misses="Tensors of other names or shapes. What an optimizer of your own decides while it steps.",
    cost="one construction of the optimizer",
    needs="models",
    find=lambda built: find_other_groups(built.study, built.observed),
)


def find_other_scales(study: Study, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Tensors of equal path and shape that start wider or narrower, and changed parts that start louder or quieter.

    A tensor below a changed site starts as its class says: a note. Where the user's own class is the whole model,
    or nothing above the tensor has changed, it is a second factor: a doubt.
    """
    for arm in study.treatments:
        changed = compare_specs(study, arm).sites
        yield from _deviations(study, arm, changed, seen)
        yield from _loudness(arm, changed, seen)


def find_other_groups(study: Study, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Tensors of equal path and shape whose group of the optimizer has other settings, under one recipe."""
    for arm, treatment in study.treatments.items():
        if treatment.training is not None and treatment.training.optimizer != study.training.optimizer:
            continue
        here, there = seen[arm].settings, seen[BASELINE].settings
        other = {key[0]: _apart(here[key], there[key]) for key in here if key in there and here[key] != there[key]}
        if other:
            name, settings = next(iter(other.items()))
            yield Finding(
                check="optimizer groups",
                severity="doubt",
                message=f"{arm!r} trains {write_count(len(other), 'tensor')} with other settings than the baseline's "
                f"of equal path and shape, such as {name}: {', '.join(settings)}",
                arm=arm,
                site=site_of(name.rpartition(".")[0], study.arms[arm].model) or "model",
                evidence={"tensors": other},
                remedy="let `roles()` give these tensors the baseline's role; a group of the optimizer is a factor of "
                "its own and takes an arm of its own",
            )


def _apart(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings that differ, as text; those that only one group has come from another optimizer."""
    names = [name for name in {**other, **mine} if mine.get(name) != other.get(name)]
    return [f"{name} {_told(other, name)} -> {_told(mine, name)}" for name in names]


def _told(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "none"


def _deviations(study: Study, arm: str, changed: tuple[str, ...], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    here, there = seen[arm].deviations, seen[BASELINE].deviations
    ratios = {
        key[0]: here[key] / there[key]
        for key in here
        if key in there and not 1 / TOO_WIDE <= here[key] / there[key] <= TOO_WIDE
    }
    model = study.arms[arm].model
    own_model = model.cls is not study.baseline.cls and not is_ours(model.cls)

    def is_stray(name: str) -> bool:
        site = site_of(_owner(name), model)
        return own_model or not any(lies_under(site, above) for above in changed)

    stray = {name: ratio for name, ratio in ratios.items() if is_stray(name)}
    for severity, told in (("doubt", stray), ("note", {n: r for n, r in ratios.items() if n not in stray})):
        if told:
            name, ratio = max(told.items(), key=lambda item: max(item[1], 1 / item[1]))
            yield Finding(
                check="initial scale",
                severity=severity,
                message=f"{arm!r} starts {write_count(len(told), 'tensor')} at another scale than the baseline's of "
                f"equal path and shape, {name} with {ratio:.2f} times its standard deviation",
                arm=arm,
                site=site_of(_owner(name), model) or "model",
                evidence={"ratios": told, "allowed": TOO_WIDE},
                remedy="take `init_std` in the constructor, which the model hands down, and draw the weights with it; "
                "an initial scale is a factor of its own",
            )


def _loudness(arm: str, changed: tuple[str, ...], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    here, there = seen[arm].loudness, seen[BASELINE].loudness
    ratios = {
        path: here[path] / there[path]
        for path in changed
        if path and here.get(path) and there.get(path) and not 1 / TOO_LOUD <= here[path] / there[path] <= TOO_LOUD
    }
    if ratios:
        path, ratio = max(ratios.items(), key=lambda item: max(item[1], 1 / item[1]))
        yield Finding(
            check="initial scale",
            severity="note",
            message=f"{arm!r} starts louder or quieter than the baseline in "
            f"{write_count(len(ratios), 'changed part')}, {path} with {ratio:.2f} times its root mean square "
            f"({here[path]:.2g} against {there[path]:.2g})",
            arm=arm,
            site=path,
            evidence={"ratios": ratios, "allowed": TOO_LOUD},
            remedy="none if it is meant; an arm with the part scaled to the baseline's output would tell the two apart",
        )


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
