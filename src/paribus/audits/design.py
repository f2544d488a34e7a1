"""The audit before training: everything that the specs, the built models and the corpus can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from paribus.audits.causality import find_leaks
from paribus.audits.conformance import Tried, find_unfit_parts, find_unsteady_start
from paribus.audits.difference import find_differences
from paribus.audits.function import find_same_functions, take_outputs
from paribus.audits.leakage import find_leaked_text, find_lost_text
from paribus.audits.matching import ArmFacts, find_matches, find_mismatches, measure_arms
from paribus.audits.parameters import find_dead_parameters
from paribus.audits.probes import blaming, build_probes, require_logits
from paribus.audits.recipe import require_recipe
from paribus.audits.sites import naming_site
from paribus.data.tokens import Corpus
from paribus.records import Finding
from paribus.study import Study

_SMALL = 5_000_000  # parameters


def audit_design(study: Study, corpus: Corpus, facts: Mapping[str, ArmFacts] | None = None) -> tuple[Finding, ...]:
    """Everything that can be wrong with a comparison before a step is trained.

    ``facts`` are those of ``measure_arms``, where they are at hand.
    Raises, with the arm's name in front, SpecError or PartError for an arm that cannot be built or has no logits, and
    TrainingError for one that its recipe cannot train.
    """
    facts = facts or measure_arms(study, corpus.vocab_size)
    return (
        *audit_arms(study, corpus.vocab_size, facts),
        *find_leaked_text(study, corpus),
        *find_lost_text(corpus),
    )


def audit_arms(study: Study, vocab_size: int, facts: Mapping[str, ArmFacts]) -> tuple[Finding, ...]:
    """The part of ``audit_design`` that needs no corpus."""
    with _few_threads(facts):
        return (
            *find_differences(study),
            *find_matches(study, facts),
            *find_mismatches(study, facts),
            *_probe_arms(study, vocab_size, facts),
        )


@contextmanager
def _few_threads(facts: Mapping[str, ArmFacts]) -> Iterator[None]:
    """One thread for small models: beside busy workers, two threads of two processes spin against each other."""
    threads = torch.get_num_threads()
    if max(arm.parameters["parameters"] for arm in facts.values()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _probe_arms(study: Study, vocab_size: int, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Build each arm once, and do everything to it that needs a model."""
    outputs: dict[str, tuple[Tensor, ...]] = {}
    tried: Tried = {}
    n_parameters = {name: arm.parameters["parameters"] for name, arm in facts.items()}
    for name, probe in build_probes(study, vocab_size, n_parameters):
        arm, model, vocab_size, length = study.arms[name], probe.model, probe.vocab_size, probe.length
        with blaming(name):
            with naming_site(model, vocab_size) as misshapen:
                require_logits(model, vocab_size, length)
            require_recipe(arm.training, model)
            yield from find_unsteady_start(name, probe, study.first_seed)
            with naming_site(model, vocab_size):
                yield from find_dead_parameters(name, model, vocab_size, length)
            model.double()
            leaks = list(find_leaks(name, model, arm.model, vocab_size, length))
            yield from leaks
            yield from find_unfit_parts(name, model, arm.model, misshapen, leaks, tried)
            if any(leak.severity == "doubt" for leak in leaks):
                continue  # it could not be tried in float64
            outputs[name] = take_outputs(model, vocab_size, length)
    yield from find_same_functions(study, outputs)
