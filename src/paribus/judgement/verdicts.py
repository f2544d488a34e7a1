"""From a comparison and its findings to a verdict, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.design.markup import escape, join_verdict
from paribus.design.plain import fields_to_plain
from paribus.design.study import BASELINE, MOST_SEEDS
from paribus.errors import JudgementError
from paribus.judgement.comparison import Comparison
from paribus.judgement.document_noise import name_knob
from paribus.judgement.looks import Ending, half_widths, look
from paribus.judgement.sentences import (
    choose_decimals,
    count_seeds,
    explain_contrast,
    is_difference,
    name_metric,
    name_subject,
    state_size,
    state_verdict,
    write_range,
)
from paribus.store.records import Finding

KINDS = ("better", "worse", "equivalent", "undecided", "invalid")

_KIND_OF = {
    Ending.UNSTABLE: "undecided",
    Ending.IDENTICAL: "equivalent",
    Ending.SEEDLESS: "invalid",
    Ending.EQUIVALENT: "equivalent",
    Ending.BETTER: "better",
    Ending.WORSE: "worse",
    Ending.EXHAUSTED: "undecided",
    Ending.UNLIKELY: "undecided",
    Ending.OPEN: "undecided",
}


@dataclass(frozen=True)
class Verdict:
    """What may be said of one treatment.

    Args:
        treatment: name of the arm, or of the contrast.
        kind: "better", "worse", "equivalent", "undecided" or "invalid".
        sentence: the whole verdict in one plain sentence, with numbers and unit.
        qualifier: "by more than the margin", "size against the margin not settled", "a real but negligible gain",
            "a real but negligible loss", or "".
        reasons: why it is this kind: "interval", "bit-identical", "unstable", "seeds have no effect", "pairs used up",
            "a verdict has become unlikely", "baseline diverged", the messages of invalid findings, or what was
            said on interruption.
        doubts: messages of findings of severity "doubt".
        notes: further sentences: bias of early stopping, a dominating pair, the knob to turn, and the messages of
            findings of severity "note".
        n_pairs: pairs that were read.
        wider_kind: the verdict for other evaluation documents of this kind; None where it cannot be said.
        wider_sentence: the same as a sentence, "" where it cannot be said.
    """

    treatment: str
    kind: str
    sentence: str
    qualifier: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    n_pairs: int
    wider_kind: str | None = None
    wider_sentence: str = ""

    def __str__(self) -> str:
        return self.sentence

    def _repr_markdown_(self) -> str:
        doubts = [f"**doubt** {escape(doubt)}" for doubt in self.doubts]
        return "\n\n".join([join_verdict(self.kind, (self.sentence, self.wider_sentence)), *doubts])

    def to_json(self) -> dict[str, Any]:
        """The fields by name; tuples as lists."""
        return fields_to_plain(self)


def decide(comparison: Comparison, findings: Sequence[Finding] = ()) -> Verdict | None:
    """The verdict on a primary treatment, or None: not decided yet, go on with the next pair.

    A finding of severity "invalid" about this arm, the baseline or the whole study makes the verdict invalid
    whatever the numbers say. Otherwise the looks are replayed in order and the first that ends it decides; a
    baseline that diverged there leaves nothing to compare with and makes it invalid. A finding that bars the kind of
    verdict that the numbers come to makes it undecided.

    Raises JudgementError for a descriptive treatment: it has intervals and no verdict.
    """
    if not comparison.primary:
        raise JudgementError(f"{comparison.treatment!r} is descriptive: it has intervals and no verdict")
    invalid = _messages(comparison, findings, "invalid")
    if invalid:
        said = f"{name_subject(comparison)} is invalid: {'; '.join(invalid)}"
        return _write(comparison, findings, "invalid", said, invalid)
    ending, stop = comparison.ending
    if ending is Ending.OPEN:
        return None
    if stop != comparison.n_pairs:
        raise JudgementError(
            f"{comparison.treatment!r} stopped after {stop} pairs but the comparison holds {comparison.n_pairs}; "
            "make it with compare()"
        )
    if ending is Ending.UNSTABLE:
        return _judge_unstable(comparison, findings)
    if ending is Ending.IDENTICAL:
        same = f"{name_metric(comparison)} is bit-identical" if is_difference(comparison) else "it is exactly 0"
        said = f"{state_verdict(comparison, 'equivalent')}: {same} in all {count_seeds(comparison)}"
        return _write(comparison, findings, "equivalent", said, ("bit-identical",))
    if ending is Ending.SEEDLESS:
        said = (
            f"{name_subject(comparison)} is invalid: all {comparison.n_pairs} differences are exactly "
            f"{comparison.differences[0]:.6g} "
            f"{comparison.metric.unit}; seeds have no effect"
        )
        return _write(comparison, findings, "invalid", said, ("seeds have no effect",))
    if ending in (Ending.EXHAUSTED, Ending.UNLIKELY):
        return _judge_undecided(comparison, findings, ending)
    concerning = [finding for finding in findings if finding.arm in (None, *comparison.arms)]
    if barring := [f.message.rstrip(".") for f in concerning if _KIND_OF[ending] in f.bars]:
        said = f"{name_subject(comparison)} is undecided, although it would be {_KIND_OF[ending]} by its numbers "
        said += f"({state_size(comparison)}): {'; '.join(barring)}"
        return _write(comparison, findings, "undecided", said, tuple(barring))
    return _judge_interval(comparison, findings, ending)


def suspend(comparison: Comparison, findings: Sequence[Finding] = (), why: str = "interrupted") -> Verdict:
    """The verdict as it stands, where no more pairs come: undecided, unless the looks have decided already.

    One run per arm, and any number below ``n_min``, always ends here.
    """
    decided = decide(comparison, findings)
    if decided is not None:
        return decided
    rule = comparison.rule
    seen = f": {state_size(comparison)}" if comparison.interval else ""
    after = f"after {count_seeds(comparison)} of at least {rule.n_min} and at most {rule.n_max}"
    said = f"{name_subject(comparison)} is undecided: {why} {after}{seen}"
    return _write(comparison, findings, "undecided", said, (why,), Ending.OPEN if comparison.interval else None)


def is_condemned(comparison: Comparison, findings: Sequence[Finding]) -> bool:
    """Whether a finding about one of its arms, or about the whole study, leaves no verdict to stand."""
    return bool(_messages(comparison, findings, "invalid"))


def describe_on(treatment: str, primary: Mapping[str, Comparison], pairs: Mapping[str, int]) -> int:
    """On how many pairs a descriptive treatment is described, where the ``primary`` comparisons take these ``pairs``.

    As many as the longest of the contrasts it is an arm of; where it is an arm of none, as many as the longest of all.
    """
    weighed = [name for name, comparison in primary.items() if comparison.contrast and treatment in comparison.arms]
    return max((pairs[name] for name in weighed or pairs), default=0)


def describe_difference(comparison: Comparison) -> str:
    """The mean difference and its interval as a phrase; for a descriptive treatment, all there is to say."""
    if any(math.isnan(d) for d in comparison.differences):
        if comparison.contrast:
            return f"runs diverged: {_count_by_arm(comparison)}"
        baseline, treatment = _count_divergences(comparison)
        return f"runs diverged: {baseline} of the baseline, {treatment} of the treatment"
    if comparison.mean is None:
        return f"no {'seeds' if comparison.contrast else 'pairs'} yet"
    return state_size(comparison)


def _judge_unstable(comparison: Comparison, findings: Sequence[Finding]) -> Verdict:
    baseline: int
    if comparison.contrast:
        baseline = any(BASELINE in pair.diverged for pair in comparison.pairs)
        counts = f"of {count_seeds(comparison)}, diverged: {_count_by_arm(comparison)}"
    else:
        baseline, treatment = _count_divergences(comparison)
        counts = f"of {count_seeds(comparison)} the baseline diverged in {baseline} and the treatment in {treatment}"
    subject = name_subject(comparison)
    if baseline:
        said = f"{subject} is invalid: the baseline diverged, so there is no comparison ({counts})"
        return _write(comparison, findings, "invalid", said, ("baseline diverged",))
    said = f"{subject} is undecided: training is unstable ({counts}); a diverged run is never dropped or tried again"
    return _write(comparison, findings, "undecided", said, ("unstable",))


def _judge_undecided(comparison: Comparison, findings: Sequence[Finding], ending: Ending) -> Verdict:
    gave_up = ending is Ending.UNLIKELY
    reason = "a verdict has become unlikely" if gave_up else "pairs used up"
    after = f"after {count_seeds(comparison)}" + (f" of at most {comparison.rule.n_max}" if gave_up else "")
    said = (
        f"{name_subject(comparison)} is undecided {after} ({reason}): {state_size(comparison)}; {_settling(comparison)}"
    )
    return _write(comparison, findings, "undecided", said, (reason,), ending)


def _judge_interval(comparison: Comparison, findings: Sequence[Finding], ending: Ending) -> Verdict:
    qualifier = _qualify(comparison, ending)
    margin = f"{comparison.rule.margin:.4g} {comparison.metric.unit}"
    difference = state_size(comparison)
    if ending is Ending.EQUIVALENT:
        assert comparison.equivalence_interval  # it ended so
        inner = write_range(*comparison.equivalence_interval, choose_decimals(comparison))
        said = f"{state_verdict(comparison, 'equivalent')}: {difference}; the equivalence interval {inner} lies within "
        said += f"±{margin}"
        said += f", {qualifier}" if qualifier else ""
    else:
        size = f"{qualifier} of {margin}" if qualifier == "by more than the margin" else f"{qualifier} ({margin})"
        said = f"{state_verdict(comparison, _KIND_OF[ending])}: {difference}, {size}"
    return _write(comparison, findings, _KIND_OF[ending], said, ("interval",), ending, qualifier)


def _qualify(comparison: Comparison, ending: Ending) -> str:
    mean = float(comparison.oriented.mean())
    assert comparison.sd is not None
    h = float(half_widths(comparison.n_pairs, comparison.sd, comparison.rule)[0])
    if ending is Ending.EQUIVALENT:
        if mean + h < 0:
            return "a real but negligible gain"
        return "a real but negligible loss" if mean - h > 0 else ""
    beyond = mean + h < -comparison.rule.margin or mean - h > comparison.rule.margin
    return "by more than the margin" if beyond else "size against the margin not settled"


def _write(
    comparison: Comparison,
    findings: Sequence[Finding],
    kind: str,
    said: str,
    reasons: tuple[str, ...],
    ending: Ending | None = None,
    qualifier: str = "",
) -> Verdict:
    """The verdict; with an ``ending`` that the intervals carry, the wider claim is added."""
    wider_kind, wider_sentence = _widen(comparison, ending)
    return Verdict(
        treatment=comparison.treatment,
        kind=kind,
        sentence=f"{said}.",
        qualifier=qualifier,
        reasons=tuple(reasons),
        doubts=_messages(comparison, findings, "doubt"),
        notes=_notes(comparison, ending) + _messages(comparison, findings, "note"),
        n_pairs=comparison.n_pairs,
        wider_kind=wider_kind,
        wider_sentence=wider_sentence,
    )


def _widen(comparison: Comparison, ending: Ending | None) -> tuple[str | None, str]:
    """The same look with SE_doc in its half widths: what holds for other evaluation documents of this kind."""
    if ending is None or comparison.se_doc is None or comparison.wider_interval is None:
        return None, ""
    code = Ending(int(look(comparison.oriented, comparison.rule, comparison.se_doc)[0]))
    kind = _KIND_OF[code]
    interval = write_range(*comparison.wider_interval, choose_decimals(comparison))
    verb = "undecided" if kind == "undecided" else f"also {kind}" if kind == _KIND_OF[ending] else kind
    return kind, (
        f"For other evaluation documents of this kind: {verb} (interval {interval} {comparison.metric.unit} with the "
        f"documents' standard error of {comparison.se_doc:.2g} in it)."
    )


def _notes(comparison: Comparison, ending: Ending | None) -> tuple[str, ...]:
    notes = [*explain_contrast(comparison)]
    most = comparison.rule.n_max
    early = comparison.n_pairs < most
    if early and ending in (Ending.BETTER, Ending.WORSE):
        notes.append(
            f"It stopped early, after {comparison.n_pairs} of at most {count_seeds(comparison, most)}: "
            "the mean is then biased outward (in simulations of 3 to 10 pairs by about .05 sd where the true "
            "difference is 2 sd, by .6 sd for a lucky small effect)."
        )
    if comparison.dominating_seed is not None and comparison.dominating_share is not None:
        whose, which = ("Seed", "runs") if comparison.contrast else ("The pair of seed", "two runs")
        notes.append(
            f"{whose} {comparison.dominating_seed} makes up {100 * comparison.dominating_share:.0f} % of the "
            f"centred sum of squares: look at its {which}."
        )
    if ending is not None and comparison.se_doc is not None and comparison.se_seed:
        knob = name_knob(comparison.se_doc, comparison.se_seed)
        notes.append(
            f"To narrow the wider claim, add {knob}: the documents' standard error is {comparison.se_doc:.2g}, "
            f"the seeds' {comparison.se_seed:.2g} {comparison.metric.unit}."
        )
    return tuple(notes)


def _settling(comparison: Comparison) -> str:
    outlook = comparison.outlook
    if outlook is None:
        return "no number of seeds would settle it at this margin"
    if outlook.by == "extrapolation":
        fresh = f"{outlook.seeds} fresh seeds" if comparison.contrast else f"{outlook.seeds} pairs on fresh seeds"
        return (
            f"about {fresh} would settle it, more than the "
            f"{MOST_SEEDS} of one registration: the runs must become quieter first"
        )
    return (
        f"a new registration on fresh seeds would settle it within {count_seeds(comparison, outlook.seeds)} "
        f"with a chance of {100 * outlook.chance:.0f} %"
    )


def _messages(comparison: Comparison, findings: Sequence[Finding], severity: str) -> tuple[str, ...]:
    concerned = (None, *comparison.arms)
    return tuple(f.message.rstrip(".") for f in findings if f.severity == severity and f.arm in concerned)


def _count_divergences(comparison: Comparison) -> tuple[int, int]:
    return (
        sum(pair.baseline_diverged for pair in comparison.pairs),
        sum(pair.treatment_diverged for pair in comparison.pairs),
    )


def _count_by_arm(comparison: Comparison) -> str:
    diverged = [arm for pair in comparison.pairs for arm in pair.diverged]
    return ", ".join(f"{arm} in {diverged.count(arm)}" for arm in dict.fromkeys(diverged))
