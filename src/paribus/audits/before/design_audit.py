"""The audit before training: everything that the specs, the built models and the corpus can tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from paribus.audits.before.causality import find_leaks
from paribus.audits.before.dead_parameters import find_dead_parameters
from paribus.audits.before.declared_changes import find_differences
from paribus.audits.before.hidden_differences import find_hidden_differences
from paribus.audits.before.initialization import find_other_groups, find_other_scales
from paribus.audits.before.own_metric import find_shifting_tokens, require_measure
from paribus.audits.before.part_conformance import Tried, find_unfit_parts, find_unsteady_start
from paribus.audits.before.same_function import find_same_functions, same_as_baseline, take_outputs
from paribus.audits.before.sizes import (
    find_budget,
    find_matches,
    find_mismatches,
    find_other_amounts,
    find_other_states,
)
from paribus.audits.before.substitutes import find_substitutes, find_unsteady_training
from paribus.audits.before.text_leaks import find_foreign_vocabulary, find_leaked_text, find_lost_text, require_bytes
from paribus.audits.before.training_recipe import (
    find_missing_extra_rates,
    find_mixed_metric,
    find_odd_schedules,
    require_recipe,
    require_steps,
)
from paribus.audits.instruments.costs import ArmFacts, measure_arms
from paribus.audits.instruments.models import blaming, build_probes, require_logits
from paribus.audits.instruments.observation import Objective, Observed, measure_objective, observe
from paribus.audits.instruments.sites import is_foreign, naming_site
from paribus.data.corpus import Corpus
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.study import Study
from paribus.store.records import Finding

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
    return (
        *audit_arms(study, corpus.vocab_size, facts),
        *find_leaked_text(study, corpus),
        *find_foreign_vocabulary(study, corpus),
        *find_lost_text(corpus),
        *(
            find_shifting_tokens(study.metric, corpus.evaluation(*_scored(study.training)).targets, corpus.vocab_size)
            if study.metric.measure
            else ()
        ),
        *find_budget(
            study,
            corpus.manifest["sides"]["train"]["tokens"],
            {name: arm.cost("active_parameters") for name, arm in facts.items()},
        ),
    )


def audit_arms(study: Study, vocab_size: int, facts: Mapping[str, ArmFacts]) -> tuple[Finding, ...]:
    """The part of ``audit_design`` that needs no corpus."""
    require_measure(study.metric, vocab_size)
    with _few_threads(facts):
        return (
            *find_differences(study),
            *find_matches(study, facts),
            *find_mismatches(study, facts),
            *find_other_states(study, facts),
            *find_other_amounts(study),
            *_probe_arms(study, vocab_size, facts),
            *find_odd_schedules(study),
            *find_missing_extra_rates(study),
        )


def _scored(training: Training) -> tuple[int, int, str]:
    return training.seq_len, training.evaluation_tokens, training.evaluation_side


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


def _probe_arms(study: Study, vocab_size: int, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Build each arm once, and do everything to it that needs a model."""
    outputs: dict[str, tuple[Tensor, ...]] = {}
    seen: dict[str, Observed] = {}
    goals: dict[str, Objective | None] = {}
    tried: Tried = {}
    stepped: list[Spec] = []
    n_parameters = {name: arm.parameters["parameters"] for name, arm in facts.items()}
    for name, probe in build_probes(study, vocab_size, n_parameters):
        arm, model, vocab_size, length = study.arms[name], probe.model, probe.vocab_size, probe.length
        with blaming(name):
            with naming_site(model, vocab_size) as misshapen:
                require_logits(model, vocab_size, length)
            require_recipe(arm.training, model)
            if arm.training.optimizer not in stepped:
                require_steps(arm.training, probe.build(study.first_seed), vocab_size, length)
                if not is_foreign(arm.training.optimizer.cls):  # the user's may fail on the tensors of another arm
                    stepped.append(arm.training.optimizer)
            seen[name] = observe(probe, arm.training)
            yield from find_unsteady_start(name, probe, study.first_seed)
            with naming_site(model, vocab_size):
                yield from find_dead_parameters(name, model, vocab_size, length)
            goals[name] = measure_objective(model, vocab_size, length)
            yield from find_mixed_metric(study, name, goals[name])
            model.double()
            leaks = list(find_leaks(name, model, arm.model, vocab_size, length))
            yield from leaks
            yield from find_unfit_parts(name, model, arm.model, misshapen, leaks, tried)
            if any(leak.severity == "doubt" or leak.check == "state between passes" for leak in leaks):
                continue  # it could not be tried in float64, or says something else each time
            outputs[name] = take_outputs(model, vocab_size, length)
    yield from find_same_functions(study, outputs)
    same = same_as_baseline(study, outputs)
    yield from find_substitutes(study, same, seen)
    yield from find_unsteady_training(study, seen)
    yield from find_hidden_differences(study, seen, goals, same)
    yield from find_other_scales(study, seen)
    yield from find_other_groups(study, seen)
