"""Parameters, floating-point operations and state of every arm, counted without training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from paribus.audits.instruments.decoding_state import counting_calls, measure_state
from paribus.audits.instruments.models import blaming
from paribus.audits.instruments.sites import naming_site
from paribus.design.differences import Difference, compare_specs
from paribus.design.specs import Spec
from paribus.design.study import BASELINE, Study
from paribus.nn.contract import build_model, roles
from paribus.training.cost import count_flops, count_parameters

_SOONER_BUILT = 5_000_000  # parameters up to which a forward and backward pass takes less than tracing one


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
