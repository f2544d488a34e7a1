"""Sizes and costs of the arms, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from paribus.audits.difference import Difference, compare_specs
from paribus.audits.probes import blaming
from paribus.audits.sites import naming_site
from paribus.nn.contract import build_model, roles
from paribus.records import Finding
from paribus.specs import Spec
from paribus.study import BASELINE, Study
from paribus.training.cost import count_flops, count_parameters

WORTH_SAYING, TOO_MUCH = 0.01, 0.05  # relative to the baseline

_ALLOCATED = 50_000_000  # parameters; a larger arm is counted on the meta device, where nothing is allocated


@dataclass(frozen=True)
class ArmFacts:
    """What an arm is and costs.

    Args:
        arm: its name.
        parameters: counts by kind, as ``paribus.training.cost.count_parameters`` names them.
        flops: forward and training, per token, as ``count_flops`` names them.
        difference: what differs from the baseline; None for the baseline.
    """

    arm: str
    parameters: Mapping[str, float]
    flops: Mapping[str, float]
    difference: Difference | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; changes as text."""
        found = self.difference
        return {
            "arm": self.arm,
            **self.parameters,
            **self.flops,
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
            parameters, flops = _count(arm.model, vocab_size, arm.training.seq_len)
        facts[name] = ArmFacts(name, parameters, flops, None if name == BASELINE else compare_specs(study, name))
    return facts


def find_mismatches(facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments that are larger or dearer than the baseline, or smaller or cheaper."""
    for name, arm in facts.items():
        if name == BASELINE:
            continue
        quantities = {
            "parameters": (arm.parameters["parameters"], facts[BASELINE].parameters["parameters"]),
            "training FLOPs per token": (
                arm.flops["training_flops_per_token"],
                facts[BASELINE].flops["training_flops_per_token"],
            ),
        }
        gaps = {what: (here - there) / there for what, (here, there) in quantities.items() if there}
        told = {what: gap for what, gap in gaps.items() if abs(gap) > WORTH_SAYING}
        if told:
            said = " and ".join(f"{gap:+.1%} {what} ({_pair(*quantities[what])})" for what, gap in told.items())
            yield Finding(
                check="parameters and FLOPs",
                severity="doubt" if max(map(abs, told.values())) > TOO_MUCH else "note",
                message=f"{name!r} has {said}",
                arm=name,
                evidence={
                    **{f"{what}, relative": gap for what, gap in gaps.items()},
                    **{f"{what}, {name}": here for what, (here, _) in quantities.items()},
                    **{f"{what}, baseline": there for what, (_, there) in quantities.items()},
                },
                remedy="match the sizes, such as d_ff; or ask the question at equal cost, and say which cost",
            )


def _pair(here: float, there: float) -> str:
    return f"{here:,.0f} against {there:,.0f}"


def _count(model: Spec, vocab_size: int, seq_len: int) -> tuple[dict[str, float], dict[str, float]]:
    built = build_model(model, 0, vocab_size=vocab_size, seq_len=seq_len, device="meta")
    parameters = count_parameters(built, roles(built))
    if parameters["parameters"] > _ALLOCATED:
        try:
            return parameters, count_flops(built, seq_len, device="meta")
        except (NotImplementedError, RuntimeError):
            del built  # it looks at numbers, which the meta device does not have
    with torch.random.fork_rng(devices=[]):
        built = build_model(model, 0, vocab_size=vocab_size, seq_len=seq_len)
        with naming_site(built, vocab_size):
            return parameters, count_flops(built, seq_len)
