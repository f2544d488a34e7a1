"""Differences between the built arms that no spec shows: noise, types, objectives, losses, kernels, global state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.before.same_function import same_as_baseline
from paribus.audits.checks import Check
from paribus.audits.instruments.observation import APART, Objective, Observed, find_noise
from paribus.audits.instruments.sites import is_ours
from paribus.design.differences import compare_specs
from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Study
from paribus.design.trees import lies_under, site_of
from paribus.design.wording import list_some, write_count
from paribus.store.records import Finding

_SPLIT = "train it in an arm of its own, which differs from the baseline in this alone, or give it to both arms"


Edit = list[tuple[str, Any]]
"""Paths of numbers in a spec, and what to put there, all at once."""


def _look_at_hidden_differences(built: BuiltStudy) -> Iterator[Finding]:
    same = same_as_baseline(built.study, built.outputs)
    return find_hidden_differences(built.study, built.observed, built.objectives, same)


HIDDEN_DIFFERENCE = Check[BuiltStudy](
    name="hidden difference",
    when="before",
    severities=("note", "doubt"),
    sees="What only the built models show: noise in training that no number in the spec turns off, noise in "
    "evaluation, weights or activations in another type, a loss that is not the cross-entropy, an auxiliary loss away "
    "from the changes, weights that `after_step()`, `train()` or `eval()` moves in one arm alone, settings of the "
    "process that a part moves, averaged weights of an arm that moves its weights after each step (doubt). A router's "
    "noise, an auxiliary loss at a change, weights moved in a part that changes or where nothing else does, operations "
    "in one kernel that the baseline writes out, or the other way round (note).",
    misses="Noise from a generator that is not torch's. How strong the same noise is. Kernels of other devices. "
    "Weights that are moved after the second step only, or in a forward pass. Global state that every arm sets alike "
    "is told once, of the baseline.",
    cost="one pass over three short sequences, two more for a model with noise, two for one with its own loss; two "
    "steps where a class of your own has one of these methods",
    needs="models",
    find=_look_at_hidden_differences,
)


def find_hidden_differences(
    study: Study, seen: Mapping[str, Observed], goals: Mapping[str, Objective | None], same: Collection[str] = ()
) -> Iterator[Finding]:
    """What each treatment's model does and the baseline's does not, or the other way round.

    A doubt where it is a second factor; a note where it belongs to the change that the spec shows. ``same`` are the
    arms that compute the baseline's function.
    """
    for arm in study.arms:
        if arm != BASELINE:
            yield from _noise(study, arm, seen[arm], seen[BASELINE])
            yield from _types(arm, seen[arm], seen[BASELINE])
            yield from _objective(study, arm, seen, goals)
            yield from _idle_terms(arm, seen[arm], goals[arm])
            yield from _moved_weights(study, arm, seen, arm in same)
            yield from _guards(arm, seen[arm], seen[BASELINE])
            yield from _kernels(arm, seen[arm], seen[BASELINE])
        yield from _global_state(arm, seen)
        yield from _averaged_weights(study, arm, seen[arm])


def _noise(study: Study, arm: str, here: Observed, there: Observed) -> Iterator[Finding]:
    added = _sites_of_noise(here, here.noisy, there, there.noisy)
    routing = [site for site in added if _routes(here, site)]
    named = _silent_sites(here, _rates(study, arm, here.spec)) if set(added) - set(routing) else set()
    for severity, sites in (("doubt", [s for s in added if s not in routing and s not in named]), ("note", routing)):
        if sites:
            yield Finding(
                check="hidden difference",
                severity=severity,
                message=f"{arm!r} draws noise in training at {write_count(len(sites), 'site')} where the baseline has "
                f"none: {list_some(sites)}",
                arm=arm,
                site=sites[0] or "model",
                evidence={"what": "noise", "sites": sites, "sites_baseline": len(set(there.noisy))},
                remedy=f"dropout and the like are a second factor: {_SPLIT}",
            )
    lost = _sites_of_noise(there, there.noisy, here, here.noisy)
    declared = _silent_sites(there, _lowered(study, arm)) if lost else set()
    if lost := [site for site in lost if site not in declared]:
        yield Finding(
            check="hidden difference",
            severity="note" if here.noisy else "doubt",
            message=f"{arm!r} draws no noise in training at {write_count(len(lost), 'site')} where the baseline does: "
            f"{list_some(lost)}",
            arm=arm,
            site=lost[0] or "model",
            evidence={"what": "noise", "sites": lost, "sites_arm": len(set(here.noisy))},
            remedy=f"a part may take `dropout` from the model; without it this is a second factor: {_SPLIT}",
        )
    if still := _sites_of_noise(here, here.still_noisy, there, there.still_noisy):
        yield Finding(
            check="hidden difference",
            severity="doubt",
            message=f"{arm!r} draws noise in evaluation too, at {write_count(len(still), 'site')}: {list_some(still)}",
            arm=arm,
            site=still[0] or "model",
            evidence={"what": "noise in evaluation", "sites": still},
            remedy="ask self.training before drawing: a score would be that of a damaged model",
        )


def _sites_of_noise(mine: Observed, noisy: Iterable[str], other: Observed, others: Iterable[str]) -> list[str]:
    """Sites of ``mine`` that draw noise, where ``other`` has a part that draws none, or no such part anywhere."""
    own = dict.fromkeys(site_of(path, mine.spec) for path in noisy)
    theirs = {site_of(path, other.spec) for path in others}
    drawn = {other.slots.get(site) for site in theirs}
    return [s for s in own if s not in theirs and (s in other.slots or mine.slots.get(s) not in drawn)]


def _routes(seen: Observed, site: str) -> bool:
    """Whether the noise of a site is a router's: drawn in a router's slot, or where something is chosen by it."""
    if seen.slots.get(site) == "router":
        return True
    below = [path for path in seen.noisy if lies_under(path, site)]
    return bool(below) and all(path in seen.choosing for path in below)


def _silent_sites(seen: Observed, edits: Iterable[Edit]) -> set[str]:
    """Sites whose noise is gone when numbers of the spec are replaced, one of ``edits`` at a time."""
    noisy, silent = {site_of(path, seen.spec) for path in seen.noisy}, set()
    for rates in edits:
        quiet = seen.spec
        for path, value in rates:
            if path in quiet.paths():
                quiet = quiet.replace(path, value)
        if quiet != seen.spec:
            silent |= noisy - {site_of(path, quiet) for path in find_noise(quiet, seen.vocab_size, seen.length)}
    return silent


def _lowered(study: Study, arm: str) -> list[Edit]:
    """The numbers that the treatment changes in the baseline's spec."""
    changes = compare_specs(study, arm).model
    return [[(c.path, c.after) for c in changes if _is_number(c.before) and _is_number(c.after)]]


def _rates(study: Study, arm: str, spec: Spec) -> list[Edit]:
    """Arguments that the change or the model spells out, and what takes them back; those of one name together.

    What the model spells out, it may hand down to a new part, which then has the noise that it is told to have.
    """
    together: dict[tuple[str, Any, Any], Edit] = {}
    for name, value in spec.arguments:
        if isinstance(value, float) and 0 < value < 1:
            together[name, value, 0.0] = [(name, 0.0)]
    for change in compare_specs(study, arm).model:
        last = change.path.rpartition(".")[2]
        if _is_number(change.before) and _is_number(change.after):
            for value in (change.before, 0.0):
                together.setdefault((last, change.after, value), []).append((change.path, value))
        for end in (change.before, change.after):
            if not isinstance(end, Spec):
                continue
            for path, site in {"": end, **end.sites()}.items():
                for name, value in site.arguments:
                    if isinstance(value, float) and 0 < value < 1:
                        place = ".".join(key for key in (change.path, path, name) if key)
                        together.setdefault((name, value, 0.0), []).append((place, 0.0))
    return list(together.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _types(arm: str, here: Observed, there: Observed) -> Iterator[Finding]:
    """Types of the arm that the baseline has nowhere; and, where there are none, types that only the baseline has."""
    for what, mine, theirs in (
        ("keeps weights", here.types, there.types),
        ("computes", here.computed, there.computed),
    ):
        places = {path: dtype for path, dtype in mine.items() if dtype not in theirs.values()}
        spec = here.spec
        if not places:
            places = {path: dtype for path, dtype in theirs.items() if dtype not in mine.values()}
            spec = there.spec
        if not places:
            continue
        owner = next(iter(places)).rpartition(".")[0] if what == "keeps weights" else next(iter(places))
        is_careful = what == "computes" and set(places.values()) == {"float64"}
        in_norms = all(here.slots.get(site_of(path, here.spec)) == "norm" for path in places)
        yield Finding(
            check="hidden difference",
            severity="note" if is_careful and in_norms else "doubt",
            message=f"{arm!r} {what} in {_types_at(places, mine)} where the baseline's are "
            f"{_types_at(places, theirs)}, in {write_count(len(places), 'place')}: {list_some(places)}",
            arm=arm,
            site=site_of(owner, spec) or "model",
            evidence={"what": "types", "types": places},
            remedy=f"leave the type to the recipe's precision; else {_SPLIT}",
        )


def _types_at(paths: Iterable[str], types: Mapping[str, str]) -> str:
    """What is not among ``types`` is float32."""
    return " and ".join(sorted({types.get(path, "float32").removeprefix("torch.") for path in paths}))


def _objective(
    study: Study, arm: str, seen: Mapping[str, Observed], goals: Mapping[str, Objective | None]
) -> Iterator[Finding]:
    here, there = goals[arm], goals[BASELINE]
    if here is not None and here.gap > APART and (there is None or there.gap <= APART):
        ours = is_ours(seen[arm].spec.cls)
        yield Finding(
            check="hidden difference",
            severity="note" if ours else "doubt",
            message=f"{arm!r} is trained on a loss of its own, {here.own:.4f} where the cross-entropy of its logits is "
            f"{here.cross_entropy:.4f}, and the baseline on the cross-entropy",
            arm=arm,
            site="model",
            evidence={"what": "objective", "own": here.own, "cross_entropy": here.cross_entropy, "relative": here.gap},
            remedy=f"the objective is a second factor: {_SPLIT}",
        )
    changed = compare_specs(study, arm).sites
    for one, other, verb in ((arm, BASELINE, "adds"), (BASELINE, arm, "lacks")):
        terms = _terms_apart(goals[one], goals[other])
        sites = {name: site_of(name.rpartition(".")[0], seen[one].spec) for name in terms}
        stray = {name for name, site in sites.items() if not _lies_in(site, changed, seen[one].slots)}
        for severity, names in (("doubt", stray), ("note", terms.keys() - stray)):
            if names:
                told = {name: terms[name] for name in terms if name in names}
                first = sites[next(iter(told))]
                yield Finding(
                    check="hidden difference",
                    severity=severity,
                    message=f"{arm!r} {verb} {write_count(len(told), 'auxiliary loss')} of together "
                    f"{sum(told.values()):.3g} at random weights: {list_some(told)}",
                    arm=arm,
                    site=first or "model",
                    evidence={"what": "auxiliary losses", "terms": told},
                    remedy=f"to know what the loss does by itself, {_SPLIT}",
                )


def _idle_terms(arm: str, seen: Observed, goal: Objective | None) -> Iterator[Finding]:
    """Auxiliary losses that are computed and added, and train nothing."""
    if goal and goal.idle:
        sites = [site_of(name.rpartition(".")[0], seen.spec) for name in goal.idle]
        yield Finding(
            check="hidden difference",
            severity="doubt",
            message=f"{arm!r} has {write_count(len(goal.idle), 'auxiliary term')} without a gradient, on which nothing "
            f"is trained: {list_some(goal.idle)}",
            arm=arm,
            site=sites[0] or "model",
            evidence={"what": "idle auxiliary losses", "terms": list(goal.idle)},
            remedy="keep what it is computed from attached, without .detach(), .item() or no_grad(); or leave it out",
        )


def _terms_apart(mine: Objective | None, other: Objective | None) -> dict[str, float]:
    """Terms that ``other`` has neither at the same path nor, where the models are laid out otherwise, anywhere."""
    terms, others = (goal.auxiliary if goal else {} for goal in (mine, other))
    if not terms.keys() & others.keys():
        elsewhere = {name.rpartition(".")[2] for name in others}
        return {name: size for name, size in terms.items() if name.rpartition(".")[2] not in elsewhere}
    return {name: size for name, size in terms.items() if name not in others}


def _lies_in(site: str, changed: tuple[str, ...], slots: Mapping[str, str]) -> bool:
    """Whether a site is at, under or right above a change; a change of the whole model counts for its mixtures."""
    near = any(c and (lies_under(site, c) or lies_under(c, site)) for c in changed)
    routed = any(path != site and lies_under(path, site) and slot == "router" for path, slot in slots.items())
    return near or ("" in changed and routed)


def _moved_weights(study: Study, arm: str, seen: Mapping[str, Observed], is_alone: bool) -> Iterator[Finding]:
    """Weights that a model moves itself: a note where that is the only change, or all in a part that changes."""
    changed = [site for site in compare_specs(study, arm).sites if site]
    for one, other, does in ((arm, BASELINE, "moves"), (BASELINE, arm, "does not move")):
        shared = {name for name, _ in seen[other].settings}
        for when, mine, theirs in (
            ("after each step, behind the optimizer", seen[one].after_step, seen[other].after_step),
            ("when it is evaluated", seen[one].in_evaluation, seen[other].in_evaluation),
        ):
            moved = {n: size for n, size in mine.items() if n not in theirs and (n in shared or not theirs)}
            if not moved:
                continue
            sites = {site_of(name.rpartition(".")[0], seen[one].spec) for name in moved}
            belongs = all(any(lies_under(site, above) for above in changed) for site in sites)
            most = max(moved, key=lambda name: moved[name])
            yield Finding(
                check="hidden difference",
                severity="note" if is_alone or belongs else "doubt",
                message=f"{arm!r} {does} the weights of {write_count(len(moved), 'tensor')} {when}"
                f"{', as the baseline does' if one == BASELINE else ''}: by up to {moved[most]:.2g} of their size, "
                f"at {most}",
                arm=arm,
                site=site_of(most.rpartition(".")[0], seen[one].spec) or "model",
                evidence={"what": "weights", "when": when, "moved": moved},
                remedy=f"decay and averages of weights are a second factor: {_SPLIT}",
            )


def _averaged_weights(study: Study, arm: str, seen: Observed) -> Iterator[Finding]:
    """What a part does to its weights after each step does not hold of their average."""
    if study.arms[arm].training.averaged and seen.after_step:
        most = max(seen.after_step, key=lambda name: seen.after_step[name])
        yield Finding(
            check="hidden difference",
            severity="doubt",
            message=f"{arm!r} is scored with averaged weights, and moves the weights of "
            f"{write_count(len(seen.after_step), 'tensor')} itself after each step: what that keeps up, such as a "
            f"norm of 1, the average does not have, first at {most}",
            arm=arm,
            site=site_of(most.rpartition(".")[0], seen.spec) or "model",
            evidence={"what": "averaged weights", "moved": dict(seen.after_step)},
            remedy="score the last step's weights: averaged=0",
        )


def _guards(arm: str, here: Observed, there: Observed) -> Iterator[Finding]:
    """Numbers put in place of what is not finite: a run that breaks is scored on, where another is told as diverged."""
    theirs = {there.slots.get(site_of(path, there.spec)) for path in there.guarded}
    sites = [site_of(path, here.spec) for path in here.guarded]
    if added := [site for site in sites if here.slots.get(site) not in theirs]:
        yield Finding(
            check="hidden difference",
            severity="doubt",
            message=f"{arm!r} puts numbers in place of what is not finite, where the baseline does not: at "
            f"{list_some(added)}",
            arm=arm,
            site=added[0] or "model",
            evidence={"what": "guards", "sites": added},
            remedy=f"a run that breaks goes on in this arm alone, and is not told as diverged: {_SPLIT}",
        )


def _kernels(arm: str, seen: Observed, baseline: Observed) -> Iterator[Finding]:
    here, there = set(seen.kernels), set(baseline.kernels)
    if here != there:
        told = [
            f"{who} alone has {', '.join(sorted(which))}"
            for who, which in (("the baseline", there - here), (repr(arm), here - there))
            if which
        ]
        yield Finding(
            check="hidden difference",
            severity="note",
            message=f"{arm!r} differs from the baseline in {write_count(len(here ^ there), 'fused kernel')}: "
            f"{'; '.join(told)}; times compare code, not parts",
            arm=arm,
            evidence={"what": "kernels", "treatment": sorted(here), "baseline": sorted(there)},
            remedy="compare tokens and losses; for a claim about speed, give both arms kernels of one kind",
        )


def _global_state(arm: str, seen: Mapping[str, Observed]) -> Iterator[Finding]:
    here, there = seen[arm], seen[BASELINE]
    yield from _moved(arm, "the construction", here.built, {} if arm == BASELINE else there.built)
    yield from _moved(arm, "a forward pass", _moved_in_pass(here), {} if arm == BASELINE else _moved_in_pass(there))


def _moved(arm: str, said: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Finding]:
    if moved := {name: change for name, change in here.items() if there.get(name) != change}:
        yield Finding(
            check="hidden difference",
            severity="doubt",
            message=f"{said} of {arm!r} moves {write_count(len(moved), 'setting')} of the whole process: "
            + list_some(f"{name}: {change}" for name, change in moved.items()),
            arm=arm,
            evidence={"what": "global state", "moved": moved},
            remedy="set nothing that other arms in the same process hear; draw from torch's default generator unseeded",
        )


def _moved_in_pass(seen: Observed) -> dict[str, str]:
    return {**seen.passed, **({"torch's generator": "seeded anew"} if seen.reseeded else {})}
