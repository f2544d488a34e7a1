"""From a comparison and its findings to a verdict, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paribus.errors import JudgementError
from paribus.judgement.comparison import Comparison
from paribus.judgement.documents import name_knob
from paribus.judgement.looks import Ending, half_widths, look, replay
from paribus.records import Finding
from paribus.study import BASELINE, MOST_SEEDS

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
        treatment: name of the arm.
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

    def to_json(self) -> dict[str, Any]:
        """The fields by name; tuples as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def decide(comparison: Comparison, findings: Sequence[Finding] = ()) -> Verdict | None:
    """The verdict on a primary treatment, or None: not decided yet, go on with the next pair.

    A finding of severity "invalid" about this arm, the baseline or the whole study makes the verdict invalid
    whatever the numbers say. Otherwise the looks are replayed in order and the first that ends it decides; a
    baseline that diverged there leaves nothing to compare with and makes it invalid.

    Raises JudgementError for a descriptive treatment: it has intervals and no verdict.
    """
    if not comparison.primary:
        raise JudgementError(f"{comparison.treatment!r} is descriptive: it has intervals and no verdict")
    invalid = _messages(comparison, findings, "invalid")
    if invalid:
        return _write(comparison, findings, "invalid", f"is invalid: {'; '.join(invalid)}", invalid)
    endings, stops = replay(comparison.oriented, comparison.rule)
    ending, stop = Ending(int(endings[0])), int(stops[0])
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
        said = (
            f"is equivalent to the baseline: {_metric(comparison)} is bit-identical in all {comparison.n_pairs} pairs"
        )
        return _write(comparison, findings, "equivalent", said, ("bit-identical",))
    if ending is Ending.SEEDLESS:
        said = (
            f"is invalid: all {comparison.n_pairs} differences are exactly {comparison.differences[0]:.6g} "
            f"{comparison.metric.unit}; seeds have no effect"
        )
        return _write(comparison, findings, "invalid", said, ("seeds have no effect",))
    if ending in (Ending.EXHAUSTED, Ending.UNLIKELY):
        return _judge_undecided(comparison, findings, ending)
    return _judge_interval(comparison, findings, ending)


def suspend(comparison: Comparison, findings: Sequence[Finding] = (), why: str = "interrupted") -> Verdict:
    """The verdict as it stands, where no more pairs come: undecided, unless the looks have decided already.

    One run per arm, and any number below ``n_min``, always ends here.
    """
    decided = decide(comparison, findings)
    if decided is not None:
        return decided
    rule = comparison.rule
    seen = f": {_difference(comparison)}" if comparison.interval else ""
    after = f"after {_pairs(comparison.n_pairs)} of at least {rule.n_min} and at most {rule.n_max}"
    said = f"is undecided: {why} {after}{seen}"
    return _write(comparison, findings, "undecided", said, (why,), Ending.OPEN if comparison.interval else None)


def pairs_wanted(comparisons: Mapping[str, Comparison], findings: Sequence[Finding] = ()) -> dict[str, int]:
    """How many pairs each treatment needs before the next judgement; where that is what it has, it is done.

    An undecided primary treatment wants one more (at first ``n_min``); a decided one has retired. A descriptive
    one is described on as many pairs as the longest primary comparison, unless a run of it diverged.
    """
    wanted = {}
    for name, comparison in comparisons.items():
        if comparison.primary:
            live = decide(comparison, findings) is None
            wanted[name] = max(comparison.n_pairs + 1, comparison.rule.n_min) if live else comparison.n_pairs
    longest = max(wanted.values(), default=0)
    for name, comparison in comparisons.items():
        if not comparison.primary:
            over = any(math.isnan(d) for d in comparison.differences) or _messages(comparison, findings, "invalid")
            wanted[name] = comparison.n_pairs if over else max(comparison.n_pairs, longest)
    return {name: wanted[name] for name in comparisons}


def describe_difference(comparison: Comparison) -> str:
    """The mean difference and its interval as a phrase; for a descriptive treatment, all there is to say."""
    if any(math.isnan(d) for d in comparison.differences):
        baseline, treatment = _count_divergences(comparison)
        return f"runs diverged: {baseline} of the baseline, {treatment} of the treatment"
    if comparison.mean is None:
        return "no pairs yet"
    return _difference(comparison)


def _judge_unstable(comparison: Comparison, findings: Sequence[Finding]) -> Verdict:
    baseline, treatment = _count_divergences(comparison)
    counts = f"of {_pairs(comparison.n_pairs)} the baseline diverged in {baseline} and the treatment in {treatment}"
    if baseline:
        said = f"is invalid: the baseline diverged, so there is no comparison ({counts})"
        return _write(comparison, findings, "invalid", said, ("baseline diverged",))
    said = f"is undecided: training is unstable ({counts}); a diverged run is never dropped or tried again"
    return _write(comparison, findings, "undecided", said, ("unstable",))


def _judge_undecided(comparison: Comparison, findings: Sequence[Finding], ending: Ending) -> Verdict:
    gave_up = ending is Ending.UNLIKELY
    reason = "a verdict has become unlikely" if gave_up else "pairs used up"
    after = f"after {_pairs(comparison.n_pairs)}" + (f" of at most {comparison.rule.n_max}" if gave_up else "")
    said = f"is undecided {after} ({reason}): {_difference(comparison)}; {_settling(comparison)}"
    return _write(comparison, findings, "undecided", said, (reason,), ending)


def _judge_interval(comparison: Comparison, findings: Sequence[Finding], ending: Ending) -> Verdict:
    qualifier = _qualify(comparison, ending)
    margin = f"{comparison.rule.margin:.4g} {comparison.metric.unit}"
    difference = _difference(comparison)
    if ending is Ending.EQUIVALENT:
        low, high = comparison.equivalence_interval
        inner = _range(low, high, _decimals(comparison))
        said = f"is equivalent to the baseline: {difference}; the equivalence interval {inner} lies within ±{margin}"
        said += f", {qualifier}" if qualifier else ""
    else:
        size = f"{qualifier} of {margin}" if qualifier == "by more than the margin" else f"{qualifier} ({margin})"
        said = f"is {_KIND_OF[ending]} than the baseline: {difference}, {size}"
    return _write(comparison, findings, _KIND_OF[ending], said, ("interval",), ending, qualifier)


def _qualify(comparison: Comparison, ending: Ending) -> str:
    mean = float(comparison.oriented.mean())
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
        sentence=f"{comparison.treatment} {said}.",
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
    interval = _range(*comparison.wider_interval, _decimals(comparison))
    verb = "undecided" if kind == "undecided" else f"also {kind}" if kind == _KIND_OF[ending] else kind
    return kind, (
        f"For other evaluation documents of this kind: {verb} (interval {interval} {comparison.metric.unit} with the "
        f"documents' standard error of {comparison.se_doc:.2g} in it)."
    )


def _notes(comparison: Comparison, ending: Ending | None) -> tuple[str, ...]:
    notes = []
    early = comparison.n_pairs < comparison.rule.n_max
    if early and ending in (Ending.BETTER, Ending.WORSE):
        notes.append(
            f"It stopped early, after {comparison.n_pairs} of at most {comparison.rule.n_max} pairs: the mean is then "
            "biased outward (in simulations of 3 to 10 pairs by about .05 sd where the true difference is 2 sd, by "
            ".6 sd for a lucky small effect)."
        )
    if comparison.dominating_seed is not None:
        notes.append(
            f"The pair of seed {comparison.dominating_seed} makes up {100 * comparison.dominating_share:.0f} % of the "
            "centred sum of squares: look at its two runs."
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
        return (
            f"about {outlook.seeds} pairs on fresh seeds would settle it, more than the {MOST_SEEDS} of one "
            "registration: the runs must become quieter first"
        )
    return (
        f"a new registration on fresh seeds would settle it within {outlook.seeds} pairs "
        f"with a chance of {100 * outlook.chance:.0f} %"
    )


def _messages(comparison: Comparison, findings: Sequence[Finding], severity: str) -> tuple[str, ...]:
    concerned = (None, BASELINE, comparison.treatment)
    return tuple(f.message.rstrip(".") for f in findings if f.severity == severity and f.arm in concerned)


def _count_divergences(comparison: Comparison) -> tuple[int, int]:
    return (
        sum(pair.baseline_diverged for pair in comparison.pairs),
        sum(pair.treatment_diverged for pair in comparison.pairs),
    )


def _difference(comparison: Comparison) -> str:
    decimals = _decimals(comparison)
    moved = "lower" if comparison.mean < 0 else "higher"
    size = f"{abs(comparison.mean):.{decimals}f}"
    by = f"{moved} by {size}" if float(size) > 0 else f"changed by less than {10.0**-decimals:.{decimals}f}"
    said = f"{_metric(comparison)} {by} {comparison.metric.unit}"
    if comparison.interval is None:
        return f"{said} ({_pairs(comparison.n_pairs)}, no interval yet)"
    interval = _range(*comparison.interval, decimals)
    return f"{said} (interval {interval}, {comparison.coverage}; {_pairs(comparison.n_pairs)})"


def _decimals(comparison: Comparison) -> int:
    """Two significant digits of the interval's half width."""
    if comparison.interval is None:
        return 4
    half = (comparison.interval[1] - comparison.interval[0]) / 2
    return min(12, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 6


def _range(low: float, high: float, decimals: int) -> str:
    return f"{low:+.{decimals}f} to {high:+.{decimals}f}"


def _metric(comparison: Comparison) -> str:
    words = comparison.metric.key.split("_")
    return " ".join({"val": "validation"}.get(word, word) for word in words)


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
