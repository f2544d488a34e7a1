"""The audit after training: everything that the records can tell. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paribus.audits.after.completeness import find_gaps, find_unfinished_schedules
from paribus.audits.after.integrity import find_unfounded_numbers
from paribus.audits.after.pairing import find_unpaired
from paribus.audits.after.trained_parts import (
    find_idle_experts,
    find_late_auxiliary_losses,
    find_odd_sites,
    find_unmoved_parameters,
)
from paribus.audits.after.training_course import find_clipping, find_falling_losses, find_price_in_tokens, find_spikes
from paribus.store.records import Finding, Record

Records = Mapping[str, Mapping[int, Record]]
"""Arm to seed to record."""

Steps = Callable[[str], list[dict[str, Any]]] | Mapping[str, list[dict[str, Any]]]
"""Digest of a run to the lines of its ``steps.jsonl``; ``Store.read_steps`` is one."""


def audit_records(study: Mapping[str, Any], records: Records, steps: Steps) -> tuple[Finding, ...]:
    """Everything that can be wrong with a comparison and shows only in what the runs left behind.

    ``study`` is ``Study.to_json()`` as it was registered; nothing is imported on its word.
    """
    read = steps if callable(steps) else steps.__getitem__
    return (
        *find_gaps(study, records),
        *find_unfounded_numbers(study, records, read),
        *find_unpaired(study, records),
        *find_unfinished_schedules(study, records, read),
        *find_falling_losses(study, records),
        *find_price_in_tokens(study, records),
        *find_clipping(study, records),
        *find_spikes(records),
        *find_odd_sites(study, records),
        *find_unmoved_parameters(study, records),
        *find_idle_experts(study, records),
        *find_late_auxiliary_losses(study, records, read),
    )
