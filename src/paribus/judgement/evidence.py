"""Everything that is known about one study: what was registered, which runs are finished, what they differ by.

It is read once. A run that finishes is added to it, and only the comparisons that the run belongs to are made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from paribus.design.study import BASELINE
from paribus.errors import JudgementError
from paribus.judgement.comparison import Comparison, compare
from paribus.judgement.pairs import Pair
from paribus.judgement.registration import Registration
from paribus.judgement.speed import MeasuredTimes
from paribus.judgement.verdicts import describe_on
from paribus.store.records import Finding, Record

Records = Mapping[str, Mapping[int, Record]]
"""Arm to seed to record; finished runs only."""


@dataclass(frozen=True)
class Evidence:
    """What a store holds about one study.

    Args:
        records: the finished runs of the pairs.
        extra_runs: by digest, the finished runs outside the pairs.
        findings: reasons to doubt, those of the design first.
        times: of the arms, where they were measured.
        pairs: by treatment and contrast, the longest prefix of seeds on which all its runs are finished.
        comparisons: contrasts first, main effects before interactions, then primary treatments, then descriptive ones.
    """

    registration: Registration
    records: Records
    extra_runs: Mapping[str, Record] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    times: MeasuredTimes | None = None
    pairs: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict, repr=False)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> set[str]:
        """Digests of the finished runs of the pairs."""
        return {record.digest for of_arm in self.records.values() for record in of_arm.values()}

    def add(self, record: Record) -> Evidence:
        """The evidence with one more finished run: of the pairs, where it belongs to one, and of the extra runs."""
        seed, records = record.seed, dict(self.records)
        arms = [arm for arm in records if (seed, record.digest) in self.registration.seeded(arm)]
        for arm in arms:
            records[arm] = {**records[arm], seed: record}
        planned = {run.digest for runs in self.registration.extra_runs.values() for run in runs}
        extra = {**self.extra_runs, record.digest: record} if record.digest in planned else self.extra_runs
        return _compared(replace(self, records=records, extra_runs=extra), set(arms))

    def with_findings(self, *findings: Finding) -> Evidence:
        """The evidence with further reasons to doubt."""
        return replace(self, findings=(*self.findings, *findings))


def gather(
    registration: Registration,
    records: Records,
    extra_runs: Mapping[str, Record],
    findings: tuple[Finding, ...] = (),
    times: MeasuredTimes | None = None,
) -> Evidence:
    """The evidence of a registered study, its comparisons made.

    Raises JudgementError for runs that cannot be paired.
    """
    n_verdicts = len({*registration.study.primary, *registration.study.contrasts})
    if n_verdicts != registration.rule.n_primary:
        raise JudgementError(f"the rule shares alpha among {registration.rule.n_primary} verdicts, got {n_verdicts}")
    return _compared(Evidence(registration, records, extra_runs, findings, times), set(records))


def _compared(evidence: Evidence, changed: set[str]) -> Evidence:
    """The evidence with the pairs and comparisons of all whose arms are among the ``changed``, the others kept.

    A descriptive treatment is described on as many pairs as the longest verdict took, of the contrasts it is an arm of
    if it is.
    """
    study, rule = evidence.registration.study, evidence.registration.rule
    pairs, comparisons = dict(evidence.pairs), {}
    for name, arms in members_of(evidence.registration).items():
        if arms & changed:
            pairs[name] = (*pairs.get(name, ()), *_further_pairs(evidence, name, arms, len(pairs.get(name, ()))))
    verdicts = (*study.contrasts, *study.primary)
    for name in verdicts:
        if pairs[name] is evidence.pairs.get(name):
            comparisons[name] = evidence.comparisons[name]
        else:
            comparisons[name] = compare(name, pairs[name], rule, study.metric, contrast=study.contrasts.get(name))
    taken = {name: comparison.n_pairs for name, comparison in comparisons.items()}
    primary = dict(comparisons)
    for name in pairs:
        if name in primary:
            continue
        cut = pairs[name][: describe_on(name, primary, taken)]
        comparisons[name] = compare(name, cut, rule, study.metric, primary=False)
    return replace(evidence, pairs=pairs, comparisons=comparisons)


def members_of(registration: Registration) -> dict[str, set[str]]:
    """Contrasts and treatments to the arms whose runs they take."""
    contrasts = {name: {BASELINE, *contrast.weights} for name, contrast in registration.study.contrasts.items()}
    return contrasts | {name: {BASELINE, name} for name in registration.runs if name != BASELINE}


def _further_pairs(evidence: Evidence, name: str, arms: set[str], known: int) -> Iterator[Pair]:
    """The pairs from the ``known`` first on, up to a seed of which a run is missing or failed."""
    study, records = evidence.registration.study, evidence.records
    for seed in evidence.registration.seeds[known:]:
        finished = {arm: records[arm][seed] for arm in arms if seed in records[arm]}
        if finished.keys() < arms or any(record.status == "failed" for record in finished.values()):
            return
        if name in study.contrasts:
            yield Pair.of_contrast(finished, study.contrasts[name], study.metric)
        else:
            yield Pair.of_records(finished[BASELINE], finished[name], study.metric)
