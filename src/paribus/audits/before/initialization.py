"""Do the arms start at one scale, and does the optimizer treat their tensors alike?"""

from __future__ import annotations

import math
from collections import Counter
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
    "than 1 / 1.5 of it, or that are constant in one of the two: doubt where the whole model is the user's class or "
    "nothing above them changed, else a note. A changed part that returns three times, or a third of, what the "
    "baseline's does, or nothing at all (note). Weights of a class of yours that torch drew by default (note). After "
    "training, a verdict better or worse on an arm that started at more than three times another scale is a doubt.",
    misses="Tensors of other names or shapes, other than by what their part returns. Tensors of fewer than 64 numbers. "
    "Parts that start alike and are scaled by a constant later.",
    cost="none besides hidden difference",
    needs="models",
    find=lambda built: find_other_scales(built.study, built.observed),
)

OPTIMIZER_GROUPS = Check[BuiltStudy](
    name="optimizer groups",
    when="before",
    severities=("doubt",),
    sees="Tensors of equal path and shape that the same recipe's optimizer trains with other settings, such as a "
    "learning rate, a weight decay or another rule. Tensors of two dimensions or more that all start at one number, as "
    "gains do, and that the optimizer decays or orthogonalises as a matrix.",
    misses="Tensors of other names or shapes, and gains that start at 0 or at random. What an optimizer of your own "
    "decides while it steps.",
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
        yield from _drawn_by_torch(arm, seen)


def compare_deviations(here: Observed, there: Observed, in_order: bool = False) -> dict[str, float]:
    """Tensors of ``here`` whose initial scale is another, with the ratio of standard deviations to ``there``.

    Paired are tensors of equal path and shape, or ``in_order`` the k-th of every shape. The ratio is 0 where a tensor
    is constant here alone, and infinite where it is constant there alone.
    """
    mine, others = ((_in_order(side.deviations) if in_order else side.deviations) for side in (here, there))
    paths = list(here.deviations)
    ratios = {paths[place][0]: _ratio(mine[key], others[key]) for place, key in enumerate(mine) if key in others}
    return {name: ratio for name, ratio in ratios.items() if not 1 / TOO_WIDE <= ratio <= TOO_WIDE}


def _in_order(deviations: Mapping[tuple[str, tuple[int, ...]], float]) -> dict[Any, float]:
    seen: Counter[tuple[int, ...]] = Counter()
    ordered = {}
    for (_, shape), deviation in deviations.items():
        seen[shape] += 1
        ordered[seen[shape], shape] = deviation
    return ordered


def _ratio(here: float, there: float) -> float:
    if there == 0:
        return 1.0 if here == 0 else math.inf
    return here / there


def find_other_groups(study: Study, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Tensors of equal path and shape whose group of the optimizer has other settings, under one recipe."""
    for arm, treatment in study.treatments.items():
        if treatment.training is not None and treatment.training.optimizer != study.training.optimizer:
            continue
        yield from _decayed_gains(study, arm, seen[arm], seen[BASELINE])
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


def _decayed_gains(study: Study, arm: str, here: Observed, there: Observed) -> Iterator[Finding]:
    """Gains that are stored as a matrix, and so trained as one; those that the baseline has too are told elsewhere."""
    known = {name for name, _ in there.settings}
    settings = {name: of_group for (name, _), of_group in here.settings.items()}
    pulled = {
        name: "weight decay" if settings[name].get("weight_decay") else "Muon's step"
        for name in here.gains
        if name not in known and name in settings
        if settings[name].get("weight_decay") or "ns_steps" in settings[name]
    }
    if pulled:
        name, what = next(iter(pulled.items()))
        yield Finding(
            check="optimizer groups",
            severity="doubt",
            message=f"{arm!r} trains {write_count(len(pulled), 'tensor')} that start at one number, as gains do, as if "
            f"they were matrices, such as {name}: {what} spares the baseline's gains",
            arm=arm,
            site=site_of(_owner(name), study.arms[arm].model) or "model",
            evidence={"tensors": pulled},
            remedy='keep a gain as a vector, or let `roles()` call it "vector"',
        )


def _apart(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings that differ, as text; those that only one group has come from another optimizer."""
    names = [name for name in {**other, **mine} if mine.get(name) != other.get(name)]
    return [f"{name} {_told(other, name)} -> {_told(mine, name)}" for name in names]


def _told(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "none"


def _deviations(study: Study, arm: str, changed: tuple[str, ...], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    ratios = compare_deviations(seen[arm], seen[BASELINE])
    model = study.arms[arm].model
    own_model = model.cls is not study.baseline.cls and not is_ours(model.cls)

    def is_stray(name: str) -> bool:
        site = site_of(_owner(name), model)
        return own_model or not any(lies_under(site, above) for above in changed)

    stray = {name: ratio for name, ratio in ratios.items() if is_stray(name)}
    for severity, told in (("doubt", stray), ("note", {n: r for n, r in ratios.items() if n not in stray})):
        if told:
            name, ratio = max(told.items(), key=_distance)
            yield Finding(
                check="initial scale",
                severity=severity,
                message=f"{arm!r} starts {write_count(len(told), 'tensor')} at another scale than the baseline's of "
                f"equal path and shape, {name} {write_ratio(ratio)}",
                arm=arm,
                site=site_of(_owner(name), model) or "model",
                evidence={"ratios": told, "allowed": TOO_WIDE},
                remedy="take `init_std` in the constructor, which the model hands down, and draw the weights with it; "
                "an initial scale is a factor of its own",
            )


def _loudness(arm: str, changed: tuple[str, ...], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    here, there = seen[arm].loudness, seen[BASELINE].loudness
    both = [path for path in changed if path and path in here and path in there]
    ratios = {path: _ratio(here[path], there[path]) for path in both}
    ratios = {path: ratio for path, ratio in ratios.items() if not 1 / TOO_LOUD <= ratio <= TOO_LOUD}
    if ratios:
        path, ratio = max(ratios.items(), key=_distance)
        times = f"{path} with {ratio:.2g} times" if 0 < ratio < math.inf else f"at {path} only one of them returns"
        yield Finding(
            check="initial scale",
            severity="note",
            message=f"{arm!r} starts louder or quieter than the baseline in "
            f"{write_count(len(ratios), 'changed part')}, {times} {'its root mean square ' * (0 < ratio < math.inf)}"
            f"{'' if 0 < ratio < math.inf else 'anything '}({here[path]:.2g} against {there[path]:.2g})",
            arm=arm,
            site=path,
            evidence={"ratios": ratios, "allowed": TOO_LOUD},
            remedy="none if it is meant; an arm with the part scaled to the baseline's output would tell the two apart",
        )


def _drawn_by_torch(arm: str, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Weights that nobody chose: those of a layer of torch that the class left as they come."""
    found = seen[arm].torch_defaults
    if found and found != seen[BASELINE].torch_defaults:
        path, names = next(iter(found.items()))
        yield Finding(
            check="initial scale",
            severity="note",
            message=f"{arm!r} starts {write_count(sum(map(len, found.values())), 'tensor')} in "
            f"{write_count(len(found), 'part')} with the weights that torch draws by default, such as {names[0]} of "
            f"{path or 'the model'}; the parts of paribus start at N(0, init_std^2)",
            arm=arm,
            site=path or "model",
            evidence={"tensors": {where: list(names) for where, names in found.items()}},
            remedy="initialized(spec(...)) draws them as the model's own parts",
        )


def _distance(item: tuple[str, float]) -> float:
    ratio = item[1]
    return math.inf if ratio == 0 else max(ratio, 1 / ratio)


def write_ratio(ratio: float) -> str:
    """How a tensor starts against its counterpart."""
    if ratio == 0:
        return "at a constant, where the baseline's varies"
    if ratio == math.inf:
        return "with numbers that vary, where the baseline's is constant"
    return f"with {ratio:.2f} times its standard deviation"


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
