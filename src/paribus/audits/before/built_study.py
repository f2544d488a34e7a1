"""What the checks before training look at: a study, its arms as they are built, and what was measured of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import Tensor, nn

from paribus.audits.instruments.costs import ArmFacts
from paribus.audits.instruments.models import Probe
from paribus.audits.instruments.observation import Objective, Observed, measure_objective
from paribus.data.corpus import Corpus
from paribus.design.specs import Spec
from paribus.design.study import Study
from paribus.nn.conformance.suite import CheckResult
from paribus.store.records import Finding

SuiteResults = dict[tuple[Spec, str], tuple[str, tuple[CheckResult, ...] | str]]
"""Part and slot to the first arm that has it and what the conformance suite found, or why it could not be run."""


@dataclass(frozen=True, eq=False)
class BuiltStudy:
    """A study before training.

    Its arms are built one after the other, since their models together may not fit into memory. What the checks of all
    arms compare is kept by arm, and complete once the checks that need a model have run.

    Args:
        facts: sizes and costs of every arm.
        prepared: its corpus; None where that could not be read.
        observed, objectives: what each arm has shown at its real initial weights, and what it is trained on.
        outputs: logits of each arm on shared tokens, those left out that cannot be repeated or taken in float64.
        suite_results: of the parts that are not paribus's own.
    """

    study: Study
    vocab_size: int
    facts: Mapping[str, ArmFacts]
    prepared: Corpus | None = None
    observed: dict[str, Observed] = field(default_factory=dict)
    objectives: dict[str, Objective | None] = field(default_factory=dict)
    outputs: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    suite_results: SuiteResults = field(default_factory=dict)

    @property
    def shown(self) -> frozenset[str]:
        return frozenset({"specs", "models", *(["corpus"] if self.prepared else [])})

    @property
    def corpus(self) -> Corpus:
        assert self.prepared is not None  # else no check that needs it is run
        return self.prepared


@dataclass(frozen=True, eq=False)
class BuiltArm:
    """One arm and its model, which the checks use up: each may leave other weights behind, in the order of ``BEFORE``.

    Args:
        within: the study it is an arm of.
        probe: the model, with its real initial weights at first.
        misshapen: what is wrong with the shapes that its sites return, by path.
        found: what the checks have found so far.
    """

    name: str
    within: BuiltStudy
    probe: Probe
    misshapen: Mapping[str, str]
    found: list[Finding] = field(default_factory=list)
    shown: ClassVar[frozenset[str]] = frozenset({"model"})

    @property
    def spec(self) -> Spec:
        """The whole model's; that of the probe may have fewer blocks."""
        return self.within.study.arms[self.name].model

    @cached_property
    def objective(self) -> Objective | None:
        """What the model is trained on, at the weights that it has when this is first asked for."""
        return measure_objective(self.probe.model, self.probe.vocab_size, self.probe.length)

    @cached_property
    def exact_model(self) -> nn.Module:
        """The model in float64, which it stays; its objective is measured before."""
        _ = self.objective
        return self.probe.model.double()

    @property
    def is_repeatable(self) -> bool:
        """Whether, as far as the checks have found, two equal passes in float64 give equal logits."""
        return not any(
            finding.check == "state between passes" or (finding.check, finding.severity) == ("causality", "doubt")
            for finding in self.found
        )
