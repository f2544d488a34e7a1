"""Does each part of the user's do what its slot asks? The suite of ``paribus.nn``, run on the parts of an arm.

The suite tries a part alone, at small sizes. Where the whole model at its real sizes can be asked instead, it is
the judge, and what the suite says is a note: an honest part must not be doubted for being tried out of its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltArm
from paribus.audits.checks import Check
from paribus.audits.instruments.models import draw_tokens, forward
from paribus.audits.instruments.sites import is_ours
from paribus.design.specs import Spec
from paribus.design.study import BASELINE
from paribus.design.trees import lies_under, site_of
from paribus.design.wording import list_some, write_count
from paribus.errors import ParibusError
from paribus.nn.conformance.subjects import CHECKED_SLOTS
from paribus.nn.conformance.suite import CheckResult, check_part
from paribus.nn.slots import parts_of
from paribus.store.records import Finding

_LARGEST = 5_000_000  # parameters of a whole model of the user's, whose sizes are not small ones
_VARIED = 16  # different numbers in a tensor; fewer are a constant, a mask or an identity

_DOUBTED = ("registers its weights", "has the right gradient", "is deterministic", "resets the same")
_JUDGED_ON_THE_MODEL = {"is causal": "causality", "keeps rows apart": "row leakage"}
_ASKED_OF_THE_MODEL = ("starts the same",)

CONFORMANCE = Check[BuiltArm](
    name="conformance",
    when="before",
    severities=("note", "doubt", "invalid"),
    sees="Each part that is not paribus's own, by the suite of `check_part`: a gradient that is not the derivative, "
    "two equal calls that differ, a second reset that differs, weights in a plain list or dict (doubt), a causal or "
    "row leak that the whole model does not show (doubt), a wrong shape at its site (doubt), anything else (note). "
    "Parameters or buffers that differ between two constructions with one seed (invalid). Varied parameters that are "
    "equal for two seeds (note).",
    misses="What shows at real sizes alone. A part that cannot be tried alone (note). Parts without a slot, heads, and "
    "whole models above 5 million parameters.",
    cost="none without such parts; 0.1 seconds for each, and three more constructions of the arm",
    needs="model",
    find=lambda arm: find_unfit_parts(arm),
)


@dataclass(frozen=True)
class _Use:
    """A part of the user's in an arm.

    Args:
        sites: where it stands, in order.
        as_in_suite: whether it is fed (B, T, D) there, as in the suite, by a block or a model of paribus.
    """

    part: Spec
    slot: str
    sites: tuple[str, ...]
    as_in_suite: bool


def find_unfit_parts(arm: BuiltArm) -> Iterator[Finding]:
    """What an arm with parts of the user's does at its start, and what the suite says against these parts.

    Each part is tried once in a study, with the first arm that has it. What the whole model has shown to leak is not
    held against a part once more.
    """
    yield from _unsteady_start(arm)
    model = arm.probe.model
    yield from _misshapen(arm.name, model, arm.misshapen)
    leaking = {finding.check for finding in arm.found if finding.severity != "doubt"}
    results = arm.within.suite_results
    for use in _uses(model, arm.spec):
        if (use.part, use.slot) not in results:
            results[use.part, use.slot] = (arm.name, _try(use))
        first, said = results[use.part, use.slot]
        if first == BASELINE != arm.name:
            continue  # it was told of the baseline, which counts for every treatment
        if isinstance(said, str):
            yield _untried(arm.name, use, said)
            continue
        failed = [check for check in said if not check.passed and check.name not in _ASKED_OF_THE_MODEL]
        for severity in ("doubt", "note"):
            if checks := [check for check in failed if _severity(check, use, leaking) == severity]:
                yield _unfit(arm.name, use, severity, checks, len(said))


def _unsteady_start(arm: BuiltArm) -> Iterator[Finding]:
    """Whether an arm with parts of the user's, built again with the same seed, begins otherwise; or with another seed
    alike. Buffers that nothing reads may differ.
    """
    probe, seed = arm.probe, arm.within.study.first_seed
    if not _foreign_parts(probe.model, probe.spec):
        return
    model, spec = probe.build(seed), probe.spec
    yield from _seedless(arm.name, model, probe.build(seed + 1), spec)
    again = probe.build(seed)
    left, right = _tensors(model), _tensors(again)
    names = [name for name in left if name not in right or not _equal(left[name], right[name])]
    trained = {name for name, _ in model.named_parameters()}
    if not names or (trained.isdisjoint(names) and _say_the_same(model, again, probe.vocab_size, probe.length)):
        return
    site = site_of(names[0].rpartition(".")[0], spec)
    yield Finding(
        check="conformance",
        severity="invalid",
        message=f"{len(names)} of {write_count(len(left), 'tensor')} of {arm.name!r} differ between two constructions "
        f"with seed {seed}: {list_some(names)}",
        arm=arm.name,
        site=site or "model",
        evidence={"differing": len(names), "of": len(left), "tensors": names},
        remedy="draw from torch's default generator alone: pairs cannot share what no seed decides",
    )


def _seedless(arm: str, model: nn.Module, other: nn.Module, spec: Spec) -> Iterator[Finding]:
    """Tensors of varied numbers that no seed changes: a table, or draws from a generator with a seed of its own."""
    others = dict(other.named_parameters())
    names = [
        name
        for name, p in model.named_parameters()
        if p.ndim > 1 and name in others and _equal(p, others[name]) and len(p.unique()) > _VARIED
    ]
    if names:
        site = site_of(names[0].rpartition(".")[0], spec)
        yield Finding(
            check="conformance",
            severity="note",
            message=f"{len(names)} of {write_count(len(others), 'parameter')} of {arm!r} start the same with every "
            f"seed: {list_some(names)}",
            arm=arm,
            site=site or "model",
            evidence={"seedless": len(names), "of": len(others), "tensors": names},
            remedy="if they are drawn, draw from torch's default generator and leave its seed alone",
        )


def _severity(check: CheckResult, use: _Use, leaking: set[str]) -> str:
    if not check.ran:
        return "note"
    if check.name in _JUDGED_ON_THE_MODEL:
        return "doubt" if use.as_in_suite and _JUDGED_ON_THE_MODEL[check.name] not in leaking else "note"
    return "doubt" if check.name in _DOUBTED else "note"


def _try(use: _Use) -> tuple[CheckResult, ...] | str:
    try:
        checks = check_part(use.part, use.slot)
    except ParibusError as error:
        return str(error)
    (shape,) = [check for check in checks if check.name == "keeps its shape"]
    return checks if shape.ran else shape.detail


def _uses(model: nn.Module, spec: Spec) -> list[_Use]:
    """The distinct parts that the suite can try, in order of their first site."""
    parts = parts_of(model)
    places: dict[tuple[Spec, str], list[str]] = {}
    for path, part in _foreign_parts(model, spec).items():
        slot = str(parts[path].paribus_slot)
        if slot in CHECKED_SLOTS and not (slot == "model" and _size(parts[path]) > _LARGEST):
            places.setdefault((part, slot), []).append(path)
    return [
        _Use(part, slot, tuple(paths), all(_is_fed_as_in_suite(path, parts) for path in paths))
        for (part, slot), paths in places.items()
    ]


def _foreign_parts(model: nn.Module, spec: Spec) -> dict[str, Spec]:
    """Specs of the parts of ``model`` that are not paribus's own, by path."""
    specs, found = {"": spec, **spec.sites()}, {}
    for path, part in parts_of(model).items():
        site = specs[site_of(path, spec)]
        if not is_ours(type(part)) and site.cls is type(part):
            found[path] = site
    return found


def _is_fed_as_in_suite(path: str, parts: Mapping[str, nn.Module]) -> bool:
    """A norm of heads, or a part inside a part of the user's, may be fed anything."""
    owners = [part for owner, part in parts.items() if owner != path and lies_under(path, owner)]
    return all(is_ours(type(owner)) and owner.paribus_slot in ("block", "model") for owner in owners)


def _misshapen(arm: str, model: nn.Module, misshapen: Mapping[str, str]) -> Iterator[Finding]:
    """Sites of the real model, below owners of ours, whose output has a wrong shape, and yet the model runs."""
    parts = parts_of(model)
    told = {path: what for path, what in misshapen.items() if _is_fed_as_in_suite(path, parts)}
    if told:
        path, what = next(iter(told.items()))
        yield Finding(
            check="conformance",
            severity="doubt",
            message=f"{type(parts[path]).__name__} at {path or 'model'} of {arm!r} breaks the contract of its slot: "
            f"its {what}",
            arm=arm,
            site=path or "model",
            evidence={"sites": len(told), "wrong": told},
            remedy="return the shape of the input: broadcasting over it is not what a reader of the spec expects",
        )


def _unfit(arm: str, use: _Use, severity: str, checks: list[CheckResult], total: int) -> Finding:
    failed = "; ".join(f"{check.name} ({check.detail})" for check in checks)
    return Finding(
        check="conformance",
        severity=severity,
        message=f"{_named(arm, use)} fails {len(checks)} of {write_count(total, 'check')} alone, at small sizes: "
        f"{failed}",
        arm=arm,
        site=use.sites[0] or "model",
        evidence={"slot": use.slot, "sites": list(use.sites), "failed": {c.name: c.detail for c in checks}},
        remedy="mend the part, or say in the report why it is meant so, such as a gradient that is stopped on purpose",
    )


def _untried(arm: str, use: _Use, why: str) -> Finding:
    return Finding(
        check="conformance",
        severity="note",
        message=f"{_named(arm, use)} could not be tried alone at small sizes: {why}",
        arm=arm,
        site=use.sites[0] or "model",
        evidence={"slot": use.slot, "sites": list(use.sites), "why": why},
        remedy="leave its sizes out of the spec, and let the model hand them down",
    )


def _named(arm: str, use: _Use) -> str:
    count = write_count(len(use.sites), "site")
    return f"{use.part.cls.__name__} as {use.slot} of {arm!r} ({count}, first {use.sites[0] or 'model'})"


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype is not b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


def _say_the_same(one: nn.Module, other: nn.Module, vocab_size: int, length: int) -> bool:
    tokens = draw_tokens(vocab_size, 2, length, seed=0)
    pairs = [(forward(one.train(mode), tokens), forward(other.train(mode), tokens)) for mode in (True, False)]
    return all(_equal(*pair) for pair in pairs)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
