"""`paribus check`: audits a study before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.design.plain import to_plain
from paribus.design.study import Study, arms_without_rates
from paribus.errors import HubUnreachable, SpecError
from paribus.experiment.extra_runs import WIDTHS
from paribus.lab.request import read_request
from paribus.store.files import FORMAT
from paribus.store.records import Finding

if TYPE_CHECKING:
    from paribus.data import Corpus


def check(study: str | Path | Study, *, scale: str | None = None, data: str | None = None) -> Checked:
    """Audit a study before it trains, on this machine. Trains nothing and writes nothing but the prepared corpus.

    A study whose data cannot be fetched from the hub here is audited without them, which is a finding, if its tokenizer
    declares its ``vocab_size``.
    Raises ParibusError for a study, scale or corpus that cannot be used, and SpecError or PartError for a model that
    cannot be built.
    """
    from paribus.audits import audit_arms, audit_design, measure_arms
    from paribus.execution.trained import prepare_data
    from paribus.lab.matching import solve_widths

    request = read_request(study, scale, data)
    unread: tuple[Finding, ...] = ()
    corpus: Corpus | None
    try:
        corpus, _ = prepare_data(request.study.data, request.study.training)
        vocab_size, manifest = corpus.vocab_size, corpus.manifest
    except HubUnreachable as error:
        declared = _declared_vocabulary(request.study)
        if not declared:
            raise
        corpus, vocab_size, manifest, unread = None, declared, {}, (_unread(error, declared),)
    solved = solve_widths(request.study, vocab_size)
    facts = measure_arms(solved, vocab_size)
    found = audit_design(solved, corpus, facts) if corpus else audit_arms(solved, vocab_size, facts)
    return Checked(request.name, solved, manifest, facts, (*request.findings, *unread, *found))


@dataclass(frozen=True)
class Costs:
    """What a study costs at most.

    Args:
        tokens: that are trained.
        tuning_runs: before the grid grows.
        extra_rate_runs, width_runs: at other learning rates, and at other widths.
    """

    pairs: int
    runs: int
    tokens: int
    training_flops: float
    tuning_runs: int
    extra_rate_runs: int
    width_runs: int


@dataclass(frozen=True)
class Checked:
    """What ``check`` returns: sizes and costs of the arms, and findings."""

    name: str
    study: Study
    data: Mapping[str, Any]
    arms: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def is_invalid(self) -> bool:
        return any(finding.severity == "invalid" for finding in self.findings)

    @property
    def plan(self) -> Costs:
        """What the study costs at most."""
        per_seed = {name: arm.training.trained_tokens for name, arm in self.study.arms.items()}
        flops = sum(tokens * self.arms[name].flops["training_flops_per_token"] for name, tokens in per_seed.items())
        pairs = self.study.max_seeds
        tokens = pairs * sum(per_seed.values())
        tuning = self.study.tuning
        has_rates = not tuning and not arms_without_rates(self.study.arms)
        return Costs(
            pairs=pairs,
            runs=pairs * len(per_seed),
            tokens=tokens,
            training_flops=pairs * flops,
            tuning_runs=len(tuning.points) * tuning.seeds * len(per_seed) if tuning else 0,
            extra_rate_runs=len(self.study.extra_rates) * (1 + len(self.study.primary)) if has_rates else 0,
            width_runs=len(WIDTHS) * self.study.min_seeds if self.study.width_response else 0,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "question": self.study.question,
            "plan": to_plain(self.plan),
            "margin": self.study.margin,
            "metric": self.study.metric.to_json(),
            "arms": {name: facts.to_json() for name, facts in self.arms.items()},
            "findings": [finding.to_json() for finding in self.findings],
            "data": dict(self.data),
        }


def _unread(error: Exception, vocab_size: int) -> Finding:
    return Finding(
        check="corpus",
        severity="doubt",
        message=f"the corpus was not read, and nothing is known of its split; sizes hold for {vocab_size:,} tokens. "
        f"{error}",
        evidence={"vocab_size": vocab_size},
        remedy="check again where the hub can be reached, or name another corpus with --data",
    )


def _declared_vocabulary(study: Study) -> int | None:
    try:
        return study.data["tokenizer.vocab_size"]
    except SpecError:
        return None
