"""The audits after training: of the records, of measured times, and of the extra runs. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paribus.audits.after.busy_machine import TIMING
from paribus.audits.after.completeness import SCHEDULE, SEEDS
from paribus.audits.after.integrity import EVIDENCE
from paribus.audits.after.pairing import BATCHES, ENVIRONMENT, HELD_OUT_TOKENS, INITIAL_WEIGHTS
from paribus.audits.after.sensitivity import LEARNING_RATE, NOISE_FLOOR, SIZE_RESPONSE, TUNING
from paribus.audits.after.starting_scale import STARTING_SCALE
from paribus.audits.after.trained_parts import LATE_AUXILIARY_LOSS, ROUTING, SITE_NORMS, UNMOVED_PARAMETERS
from paribus.audits.after.trained_study import ExtraRuns, ReadSteps, TimedStudy, TrainedStudy
from paribus.audits.after.training_course import CLIPPING, LOSS_SPIKES, PRICE_IN_TOKENS, STILL_FALLING
from paribus.audits.checks import Check, run_checks
from paribus.judgement import Judged
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.judgement.speed import MeasuredTimes
from paribus.store.records import Finding

AFTER: tuple[Check[Any], ...] = (
    SEEDS,
    EVIDENCE,
    INITIAL_WEIGHTS,
    BATCHES,
    HELD_OUT_TOKENS,
    ENVIRONMENT,
    SCHEDULE,
    STILL_FALLING,
    PRICE_IN_TOKENS,
    CLIPPING,
    LOSS_SPIKES,
    SITE_NORMS,
    UNMOVED_PARAMETERS,
    ROUTING,
    LATE_AUXILIARY_LOSS,
    TIMING,
    LEARNING_RATE,
    TUNING,
    SIZE_RESPONSE,
    NOISE_FLOOR,
    STARTING_SCALE,
)
"""Every check after training, in the order in which findings come."""

Steps = ReadSteps | Mapping[str, list[dict[str, Any]]]
"""Digest of a run to the lines of its ``steps.jsonl``; ``Store.read_steps`` is one."""


def audit_records(study: RegisteredStudy, records: Records, steps: Steps) -> tuple[Finding, ...]:
    """Everything that can be wrong with a comparison and shows only in what the runs left behind."""
    read_steps = steps if callable(steps) else steps.__getitem__
    return tuple(run_checks(AFTER, TrainedStudy(study, records, read_steps)))


def audit_times(study: RegisteredStudy, times: MeasuredTimes) -> tuple[Finding, ...]:
    """What speaks against measured times: reasons to doubt a speed, none to doubt a verdict."""
    return tuple(run_checks(AFTER, TimedStudy(study, times)))


def audit_extra_runs(by_numbers: Judged, judged: Judged, found: Sequence[Finding] = ()) -> tuple[Finding, ...]:
    """Everything that the extra runs, and those of the tuning, say about the comparisons.

    Args:
        by_numbers: judged without any finding: what could turn is what the numbers say.
        judged: the same, judged with the findings so far.
        found: what was found so far; it says which arms are the baseline's function.
    """
    return tuple(run_checks(AFTER, ExtraRuns(by_numbers, judged, found)))
