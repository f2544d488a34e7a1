"""What a report says of contrasts: a sentence each, one figure of all effects, and the numbers they are read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paribus.design.contrasts import Contrast
from paribus.judgement import Comparison, Report, Verdict
from paribus.judgement.report_data import Row
from paribus.reports.formatting import MISSING, is_known, write_range, write_signed
from paribus.reports.metric_names import name_metric
from paribus.reports.pictures import Effects, decide_decimals, shorten
from paribus.reports.tables import Table

NO_EXTRA_RATES = "Contrasts get no runs at other learning rates; Study(tuning=...) gives every arm its own."


@dataclass(frozen=True)
class Claim:
    """The verdict on one contrast; ``lead`` and ``rest`` are the sentence, cut where its numbers begin."""

    name: str
    kind: str
    lead: str
    rest: str
    wider: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of a study.

    Args:
        picture: every estimate with its interval; None before the first seed.
        numbers: a row per contrast.
        values: a row per seed.
        weights: a row per arm.
    """

    claims: tuple[Claim, ...]
    picture: Effects | None
    numbers: Table
    values: Table
    weights: Table


def compose_contrasts(report: Report, arms: Sequence[str]) -> Contrasts | None:
    """The contrasts as they were registered, ``arms`` in the order of the page; None for a study of pairs alone."""
    if not report.contrasts:
        return None
    rows = dict(sorted(report.contrasts.items(), key=lambda row: (len(_contrast(row[1].comparison).factors), row[0])))
    found = {finding.message.rstrip(".") for finding in report.findings}
    comparisons = {name: row.comparison for name, row in rows.items()}
    return Contrasts(
        claims=tuple(_compose_claim(name, _verdict(row), found) for name, row in rows.items()),
        picture=_picture_effects(comparisons),
        numbers=_tabulate_numbers(rows),
        values=_tabulate_values(comparisons),
        weights=Table(
            "Weight of every arm",
            ("arm", *rows),
            tuple((arm, *(_write_weight(c, arm) for c in comparisons.values())) for arm in arms),
        ),
    )


def explain_contrasts(report: Report) -> tuple[str, ...]:
    """How contrasts are made, for the part of the page that tells how a verdict is reached."""
    contrasts = report.study.contrasts
    if not contrasts:
        return ()
    said = (
        "A contrast weighs the arms of one seed with weights that sum to zero. Contrasts get the verdicts and share "
        "the error rate; the arms themselves are described, unless they are registered as primary."
    )
    if any(contrast.factors for contrast in contrasts.values()):
        said += (
            " A main effect is the mean of the arms with the factor minus the mean of those without; an interaction of "
            "two factors is half the difference between the effect of one with and without the other (Box, Hunter and "
            "Hunter 2005, Statistics for Experimenters, chapter 5)."
        )
    return (said,)


def _contrast(comparison: Comparison) -> Contrast:
    assert comparison.contrast  # it is a row of the contrasts
    return comparison.contrast


def _verdict(row: Row) -> Verdict:
    assert row.verdict  # every contrast gets one
    return row.verdict


def _compose_claim(name: str, verdict: Verdict, found: set[str]) -> Claim:
    sentence = verdict.sentence
    cut = sentence.find(": ") + 1
    return Claim(
        name=name,
        kind=verdict.kind,
        lead=sentence[:cut] or sentence,
        rest=sentence[cut:].strip() if cut else "",
        wider=verdict.wider_sentence,
        notes=tuple(note for note in verdict.notes if note.rstrip(".") not in found),
    )


def _tabulate_numbers(rows: Mapping[str, Row]) -> Table:
    first = next(iter(rows.values())).comparison
    margin = f"; margin ±{first.rule.margin:.4g}" if first.rule.margin else ""
    cells = []
    for name, row in rows.items():
        comparison, decimals = row.comparison, decide_decimals(row.comparison)
        cells.append(
            (
                name,
                write_signed(comparison.mean, decimals),
                write_range(comparison.interval, decimals),
                str(comparison.n_pairs),
                _verdict(row).kind,
            )
        )
    caption = f"{name_metric(first.metric)}; intervals hold for {first.coverage}{margin}"
    return Table(caption, ("contrast", "estimate", "interval", "seeds", "verdict"), tuple(cells))


def _tabulate_values(comparisons: Mapping[str, Comparison]) -> Table:
    values = {name: {pair.seed: pair.difference for pair in c.pairs} for name, c in comparisons.items()}
    broken = {name: {pair.seed: pair.diverged for pair in c.pairs} for name, c in comparisons.items()}

    def write(name: str, seed: int) -> str:
        if seed not in values[name]:
            return MISSING
        if broken[name][seed]:
            return f"{' and '.join(broken[name][seed])} diverged"
        return write_signed(values[name][seed], decide_decimals(comparisons[name]))

    seeds = sorted({seed for of_seed in values.values() for seed in of_seed})
    metric = next(iter(comparisons.values())).metric
    return Table(
        f"Every contrast on every seed, {name_metric(metric)}",
        ("seed", *comparisons),
        tuple((str(seed), *(write(name, seed) for name in comparisons)) for seed in seeds),
    )


def _picture_effects(comparisons: Mapping[str, Comparison]) -> Effects | None:
    known = {name: (c, c.mean) for name, c in comparisons.items() if is_known(c.mean)}
    if not known:
        return None
    first, _ = next(iter(known.values()))
    metric, rule, margin = first.metric, first.rule, first.rule.margin
    rows = []
    for name, (comparison, mean) in known.items():
        low, high = comparison.interval or (None, None)
        text = write_signed(mean, decide_decimals(comparison))
        rows.append((shorten(name), mean, low, high, text))
    left, right = ("better", "worse")[:: 1 if metric.better == "lower" else -1]
    said = [
        f"{shorten(name)} {text}" + (f", {write_range(c.interval, decide_decimals(c))}" if c.interval else "")
        for (name, (c, _)), (*_, text) in zip(known.items(), rows, strict=True)
    ]
    band = f" The shaded band is the margin of ±{margin:.4g}." if margin else " The margin is 0."
    return Effects(
        name="effects",
        title="Effects with their intervals",
        caption=f"The mean of every contrast over seeds, with its interval ({first.coverage}), "
        f"{name_metric(metric)}, {metric.better} is better.{band}",
        alt=f"Effects with intervals of {100 * (1 - rule.alpha):.3g} %: {'; '.join(said)}.",
        rows=tuple(rows),
        margin=margin,
        axis=f"{name_metric(metric)} ({metric.better} is better)",
        lower=left,
        higher=right,
    )


def _write_weight(comparison: Comparison, arm: str) -> str:
    weight = _contrast(comparison).weights.get(arm)
    return f"{weight:+.4g}" if weight else "0"
