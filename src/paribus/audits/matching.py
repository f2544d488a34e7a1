"""Sizes and costs of the arms, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from paribus.audits.difference import Difference, compare_specs, is_declared
from paribus.audits.probes import blaming
from paribus.audits.sites import naming_site
from paribus.audits.state import counting_calls, measure_state
from paribus.audits.wording import write_count
from paribus.nn.contract import build_model, roles
from paribus.records import Finding
from paribus.specs import Spec
from paribus.study import BASELINE, MATCHES, Study
from paribus.training.cost import count_flops, count_parameters

WORTH_SAYING, TOO_MUCH = 0.01, 0.05  # relative to the baseline
_SOONER_BUILT = 5_000_000  # parameters up to which a forward and backward pass takes less than tracing one

_COMPARED = {
    "parameters": "parameters",
    "active parameters": "active_parameters",
    "training FLOPs per token": "training_flops_per_token",
}


@dataclass(frozen=True)
class ArmFacts:
    """What an arm is and costs.

    Args:
        arm: its name.
        parameters: counts by kind, as ``paribus.training.cost.count_parameters`` names them.
        flops: forward and training, per token, as ``count_flops`` names them.
        difference: what differs from the baseline; None for the baseline.
        state_size: numbers it keeps of one sequence of the study's length while decoding; None where a part does not
            tell.
    """

    arm: str
    parameters: Mapping[str, float]
    flops: Mapping[str, float]
    difference: Difference | None
    state_size: int | None = None

    def cost(self, key: str) -> float:
        """A number of ``parameters`` or ``flops`` by its name."""
        return {**self.parameters, **self.flops}[key]

    def to_json(self) -> dict[str, Any]:
        """Plain values; changes as text."""
        found = self.difference
        return {
            "arm": self.arm,
            **{key: int(n) if float(n).is_integer() else n for key, n in {**self.parameters, **self.flops}.items()},
            "state_size": self.state_size,
            "sites_changed": len(found.sites) if found else 0,
            "sites_alike": found.n_alike if found else 0,
            "changes": [str(change) for change in found.changes] if found else [],
        }


def measure_arms(study: Study, vocab_size: int) -> dict[str, ArmFacts]:
    """Build every arm at its real sizes and count, the baseline first.

    Raises SpecError or PartError, the arm's name in front, for an arm that cannot be built or run.
    """
    facts = {}
    for name, arm in study.arms.items():
        with blaming(name):
            sizes = vocab_size, arm.training.seq_len
            parameters, flops = measure_parameters(arm.model, *sizes), measure_flops(arm.model, *sizes)
            state_size = measure_state(arm.model, _trace(arm.model, *sizes)[1], *sizes)
        difference = None if name == BASELINE else compare_specs(study, name)
        facts[name] = ArmFacts(name, parameters, flops, difference, state_size)
    return facts


def find_matches(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments whose width was solved for: the width, and what difference is left."""
    for name, arm in study.treatments.items():
        if not arm.match:
            continue
        key = MATCHES[arm.match]
        what = key.replace("_", " ")
        here, there = facts[name].cost(key), facts[BASELINE].cost(key)
        widths = sorted({change.before for change in arm.model.diff(arm.model.replace(arm.width, 0))})
        yield Finding(
            check="matching",
            severity="note",
            message=f"{name!r} has {arm.width} = {', '.join(map(str, widths))}, solved for equal {what}: "
            f"{_pair(here, there)} of the baseline ({here / there - 1:+.3%})",
            arm=name,
            evidence={"match": arm.match, "width": arm.width, "solved": widths, "treatment": here, "baseline": there},
            remedy="none; the next width below and above are further away",
        )


def find_mismatches(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments that are larger or dearer than the baseline, or smaller or cheaper.

    A note where the study matched the treatment in something else: it said at which cost it asks.
    """
    for name, arm in facts.items():
        if name == BASELINE:
            continue
        quantities = {said: (arm.cost(key), facts[BASELINE].cost(key)) for said, key in _COMPARED.items()}
        if quantities["active parameters"] == quantities["parameters"]:
            del quantities["active parameters"]
        gaps = {what: (here - there) / there for what, (here, there) in quantities.items() if there}
        matched = study.treatments[name].match
        judged = {what: gap for what, gap in gaps.items() if not matched or _COMPARED[what] == MATCHES[matched]}
        told = {what: gap for what, gap in gaps.items() if abs(gap) > WORTH_SAYING}
        if told:
            said = " and ".join(f"{gap:+.1%} {what} ({_pair(*quantities[what])})" for what, gap in told.items())
            yield Finding(
                check="parameters and FLOPs",
                severity="doubt" if any(abs(gap) > TOO_MUCH for gap in judged.values()) else "note",
                message=f"{name!r} has {said}",
                arm=name,
                evidence={
                    **{f"{what}, relative": gap for what, gap in gaps.items()},
                    **{f"{what}, treatment": here for what, (here, _) in quantities.items()},
                    **{f"{what}, baseline": there for what, (_, there) in quantities.items()},
                },
                remedy="match the sizes, such as d_ff; or ask the question at equal cost, and say which cost",
            )


def find_other_states(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments that remember more of a sequence, or less, than the baseline does."""
    there = facts[BASELINE].state_size
    for name in study.treatments:
        here = facts[name].state_size
        if here is None or there is None or abs(here - there) <= WORTH_SAYING * there:
            continue
        gap = f" ({here / there - 1:+.1%})" if there else ""
        yield Finding(
            check="state size",
            severity="note",
            message=f"{name!r} keeps {_pair(here, there)} numbers of a sequence of "
            f"{write_count(study.training.seq_len, 'token')} while decoding{gap}",
            arm=name,
            evidence={"treatment": here, "baseline": there, "seq_len": study.training.seq_len},
            remedy="say at which memory the question is asked",
        )


def find_other_amounts(study: Study) -> Iterator[Finding]:
    """Treatments that are trained on more tokens or in more steps than the baseline, or fewer.

    More than a note where a change of the recipe that makes the difference is not declared in ``changes``.
    """
    for name, arm in study.arms.items():
        here, there = arm.training, study.training
        amounts = {"training tokens": (here.trained_tokens, there.trained_tokens), "steps": (here.steps, there.steps)}
        gaps = {what: (mine - base) / base for what, (mine, base) in amounts.items()}
        told = {what: gap for what, gap in gaps.items() if abs(gap) > WORTH_SAYING}
        if not told:
            continue
        causes = [c.path for c in there.diff(here) if c.path in ("training.tokens", "training.batch_tokens")]
        declared = all(is_declared(path, study.changes.get(name, ())) for path in causes)
        large = any(abs(gap) > TOO_MUCH for gap in told.values())
        said = " and ".join(f"{gap:+.1%} {what} ({_pair(*amounts[what])})" for what, gap in told.items())
        yield Finding(
            check="tokens and steps",
            severity="doubt" if large and not declared else "note",
            message=f"{name!r} has {said}",
            arm=name,
            site=causes[0],
            evidence={
                **{f"{what}, relative": gap for what, gap in gaps.items()},
                **{f"{what}, treatment": mine for what, (mine, _) in amounts.items()},
                **{f"{what}, baseline": base for what, (_, base) in amounts.items()},
            },
            remedy=f"train all arms alike, or declare it: changes={{{name!r}: ({', '.join(map(repr, causes))},)}}",
        )


def _pair(here: float, there: float) -> str:
    return f"{here:,.0f} against {there:,.0f}"


def measure_parameters(model: Spec, vocab_size: int, seq_len: int) -> dict[str, float]:
    """Parameters by kind of a model at its real sizes; nothing is allocated."""
    built = build_model(model, 0, vocab_size=vocab_size, seq_len=seq_len, device="meta")
    return count_parameters(built, roles(built))


def measure_flops(model: Spec, vocab_size: int, seq_len: int) -> dict[str, float]:
    """Floating-point operations per token of a model at its real sizes.

    A large model is traced on the meta device. One that cannot be, because it looks at numbers, is built, and so is a
    small one, which is sooner done.
    Raises PartError that names the site where a forward pass fails.
    """
    return dict(_trace(model, vocab_size, seq_len)[0])


@lru_cache(maxsize=64)  # the width that a match was solved for is asked for again
def _trace(model: Spec, vocab_size: int, seq_len: int) -> tuple[dict[str, float], dict[str, int]]:
    """The operations per token, and how often each mixer runs in a forward pass."""

    def build(device: str) -> nn.Module:
        return build_model(model, 0, vocab_size=vocab_size, seq_len=seq_len, device=device)

    def count(built: nn.Module, device: str) -> tuple[dict[str, float], dict[str, int]]:
        with counting_calls(built) as calls:
            return count_flops(built, seq_len, device), calls

    with torch.random.fork_rng(devices=[]):
        sketch = build("meta")
        if sum(p.numel() for p in sketch.parameters()) > _SOONER_BUILT:
            with suppress(Exception):  # it looks at numbers; a fault of its own shows again below, where it is named
                return count(sketch, "meta")
        built = build("cpu")
        with naming_site(built, vocab_size):
            return count(built, "cpu")
