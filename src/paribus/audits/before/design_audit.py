"""The audit before training: everything that the specs, the built models and the corpus can tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import Any

import torch

from paribus.audits.before.built_study import BuiltArm, BuiltStudy
from paribus.audits.before.causality import CAUSALITY, ROW_LEAKAGE, STATE_BETWEEN_PASSES
from paribus.audits.before.dead_parameters import DEAD_PARAMETERS
from paribus.audits.before.declared_changes import SEVERAL_DIFFERENCES, SITES_CHANGED, UNDECLARED_DIFFERENCE
from paribus.audits.before.hidden_differences import HIDDEN_DIFFERENCE
from paribus.audits.before.initialization import INITIAL_SCALE, OPTIMIZER_GROUPS
from paribus.audits.before.own_metric import COUNTED_TOKENS, require_measure
from paribus.audits.before.part_conformance import CONFORMANCE
from paribus.audits.before.same_function import SAME_FUNCTION, take_outputs
from paribus.audits.before.sizes import BUDGET, MATCHING, PARAMETERS_AND_FLOPS, STATE_SIZE, TOKENS_AND_STEPS
from paribus.audits.before.substitutes import SILENT_SUBSTITUTE, UNSTEADY_TRAINING
from paribus.audits.before.text_leaks import LOST_TEXT, OVERLAP, PADDING, VOCABULARY, require_bytes
from paribus.audits.before.training_recipe import (
    EXTRA_RATES,
    METRIC,
    MICRO_BATCHES,
    PLANNED_SCHEDULE,
    require_recipe,
    require_steps,
)
from paribus.audits.checks import Check, run_checks
from paribus.audits.instruments.costs import ArmFacts, measure_arms
from paribus.audits.instruments.models import blaming, build_probes, require_logits
from paribus.audits.instruments.observation import observe
from paribus.audits.instruments.sites import is_foreign, naming_site
from paribus.data.corpus import Corpus
from paribus.design.specs import Spec
from paribus.design.study import Study
from paribus.store.records import Finding

BEFORE: tuple[Check[Any], ...] = (
    SITES_CHANGED,
    SEVERAL_DIFFERENCES,
    UNDECLARED_DIFFERENCE,
    MATCHING,
    PARAMETERS_AND_FLOPS,
    STATE_SIZE,
    TOKENS_AND_STEPS,
    DEAD_PARAMETERS,
    METRIC,
    MICRO_BATCHES,
    CAUSALITY,
    ROW_LEAKAGE,
    STATE_BETWEEN_PASSES,
    CONFORMANCE,
    SAME_FUNCTION,
    SILENT_SUBSTITUTE,
    UNSTEADY_TRAINING,
    HIDDEN_DIFFERENCE,
    INITIAL_SCALE,
    OPTIMIZER_GROUPS,
    PLANNED_SCHEDULE,
    EXTRA_RATES,
    OVERLAP,
    PADDING,
    VOCABULARY,
    LOST_TEXT,
    COUNTED_TOKENS,
    BUDGET,
)
"""Every check before training, in the order in which findings come. Those that need a model stand together, so that
each arm is built once for all of them; they run in float32 up to the first that asks for ``BuiltArm.exact_model``."""

_SMALL = 5_000_000  # parameters


def audit_design(study: Study, corpus: Corpus, facts: Mapping[str, ArmFacts] | None = None) -> tuple[Finding, ...]:
    """Everything that can be wrong with a comparison before a step is trained.

    ``facts`` are those of ``measure_arms``, where they are at hand.
    Raises, with the arm's name in front, SpecError or PartError for an arm that cannot be built or has no logits, and
    TrainingError for one that its recipe cannot train; DataError for a metric that the corpus does not allow; and
    StudyError for a metric of the user's own that cannot be measured.
    """
    require_bytes(study, corpus)
    facts = facts or measure_arms(study, corpus.vocab_size)
    return _audit(BuiltStudy(study, corpus.vocab_size, facts, corpus))


def audit_arms(study: Study, vocab_size: int, facts: Mapping[str, ArmFacts]) -> tuple[Finding, ...]:
    """The part of ``audit_design`` that needs no corpus."""
    return _audit(BuiltStudy(study, vocab_size, facts))


def _audit(built: BuiltStudy) -> tuple[Finding, ...]:
    require_measure(built.study.metric, built.vocab_size)
    found: list[Finding] = []
    with _few_threads(built.facts):
        for needs, group in groupby(BEFORE, key=attrgetter("needs")):
            checks = tuple(group)
            found += _check_arms(built, checks) if needs == "model" else run_checks(checks, built)
    return tuple(found)


@contextmanager
def _few_threads(facts: Mapping[str, ArmFacts]) -> Iterator[None]:
    """One thread for small models, where nothing limits how long threads spin: two pools on the same cores would spin
    against each other, beside busy workers or another study.
    """
    threads = torch.get_num_threads()
    is_small = max(arm.parameters["parameters"] for arm in facts.values()) < _SMALL
    sleep_soon = sys.platform == "linux" and os.environ.get("GOMP_SPINCOUNT", "").isdigit()
    if is_small and not sleep_soon:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_arms(built: BuiltStudy, checks: tuple[Check[BuiltArm], ...]) -> Iterator[Finding]:
    """Build each arm once, run the checks that need its model, and keep what the checks of all arms compare."""
    study = built.study
    stepped: list[Spec] = []
    n_parameters = {name: arm.parameters["parameters"] for name, arm in built.facts.items()}
    for name, probe in build_probes(study, built.vocab_size, n_parameters):
        training, model, vocab_size, length = study.arms[name].training, probe.model, probe.vocab_size, probe.length
        with blaming(name):
            with naming_site(model, vocab_size) as misshapen:
                require_logits(model, vocab_size, length)
            require_recipe(training, model)
            if training.optimizer not in stepped:
                require_steps(training, probe.build(study.first_seed), vocab_size, length)
                if not is_foreign(training.optimizer.cls):  # the user's may fail on the tensors of another arm
                    stepped.append(training.optimizer)
            built.observed[name] = observe(probe, training)
            arm = BuiltArm(name, built, probe, misshapen)
            for finding in run_checks(checks, arm):
                arm.found.append(finding)
                yield finding
            built.objectives[name] = arm.objective
            if arm.is_repeatable:
                built.outputs[name] = take_outputs(arm.exact_model, vocab_size, length)
