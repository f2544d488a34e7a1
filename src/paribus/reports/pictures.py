"""What every figure shows, as plain data: the same for the eye, for the caption and for a screen reader."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.judgement import Comparison, Pair, Report
from paribus.judgement.summaries import ArmSummary, Curve, Summary
from paribus.reports.formatting import choose_decimals, choose_scale, is_known, write_range, write_signed
from paribus.reports.metric_names import find_word, name_metric

_LONGEST_NAME = 32
_APART = (
    "Every point, the end too, is scored on the tokens of the curve; the final loss is scored apart, on all held-out "
    "tokens."
)


@dataclass(frozen=True)
class Picture:
    """One figure: ``name`` is its file's stem, ``alt`` says in words what is to be seen."""

    name: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Differences(Picture):
    """The paired differences of one treatment: a row per seed, then the mean with its intervals.

    Args:
        rows: label, difference (None where a run diverged) and the difference as text.
        mean: of the differences, with its label and text.
        bars: label, low and high of the interval (first, in the row of the mean) and of the equivalence interval.
        margin: half width of the band around zero, 0 for none.
        axis: label of the axis.
        lower, higher: what it means to lie left and right of zero.
    """

    rows: tuple[tuple[str, float | None, str], ...]
    mean: tuple[float, str, str] | None
    bars: tuple[tuple[str, float, float], ...]
    margin: float
    margin_text: str
    axis: str
    lower: str
    higher: str


@dataclass(frozen=True)
class Effects(Picture):
    """Several estimates below each other.

    Args:
        rows: label, estimate, both ends of its interval (None without one) and the estimate as text.
        margin, axis, lower, higher: as in ``Differences``.
    """

    rows: tuple[tuple[str, float, float | None, float | None, str], ...]
    margin: float
    axis: str
    lower: str
    higher: str


@dataclass(frozen=True)
class Series:
    """One arm; ``place`` is its place among the arms and fixes its colour. ``low`` and ``high`` bound its band."""

    label: str
    place: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Lines(Picture):
    """A line with a band per arm; ``is_x_log``: equal steps to the right are equal factors."""

    x_label: str
    y_label: str
    series: tuple[Series, ...]
    is_x_log: bool = False


@dataclass(frozen=True)
class Dots(Picture):
    """A dot per run."""

    x_label: str
    y_label: str
    series: tuple[Series, ...]


def picture_differences(place: int, name: str, comparison: Comparison) -> Differences | None:
    """The picture that carries the verdict on treatment ``name``; None where no pair has a difference."""
    differences = comparison.differences
    if not any(is_known(d) for d in differences):
        return None
    rule, metric = comparison.rule, comparison.metric
    decimals = decide_decimals(comparison)
    unit, percent = metric.unit, f"{100 * (1 - rule.alpha):.3g} %"
    bars = []
    if comparison.interval:
        bars.append((percent, *comparison.interval))
    if comparison.interval and comparison.equivalence_interval and rule.margin > 0 and comparison.primary:
        bars.append(("equivalence", *comparison.equivalence_interval))
    mean = comparison.mean
    short = shorten(name)
    lower, higher = ("better", "worse")[:: 1 if metric.better == "lower" else -1]
    margin_text = f"±{rule.margin:.4g}"
    said = [f"{short} minus baseline in {len(differences)} seed pairs"]
    said += [f"mean {write_signed(mean, decimals)} {unit}"] if is_known(mean) else []
    said += [f"{percent} interval {write_range(comparison.interval, decimals)}"] if comparison.interval else []
    said += [f"margin {margin_text} {unit}"] if rule.margin > 0 else ["margin 0"]
    bands = "The shaded band is the margin" if rule.margin > 0 else "The margin is 0"
    return Differences(
        name=f"differences-{place}-{_slug(name)}".rstrip("-"),
        title=f"Paired differences: {short} - baseline",
        caption=f"A dot per seed: {name} minus baseline, {name_metric(metric)}, {metric.better} is better. "
        + (f"The diamond is the mean with its interval ({comparison.coverage}). " if bars else "")
        + (f"Below it the equivalence interval, {100 * rule.alpha:.3g} % each side. " if len(bars) > 1 else "")
        + f"{bands}.",
        alt=f"Paired differences. {'; '.join(said)}.",
        rows=tuple(
            (f"seed {pair.seed}", d, write_signed(d, decimals))
            if is_known(d := pair.difference)
            else (f"seed {pair.seed}", None, _who(pair))
            for pair in comparison.pairs
        ),
        mean=(mean, f"mean, {percent}" if bars else "mean", write_signed(mean, decimals))
        if is_known(mean) and len(differences) > 1
        else None,
        bars=tuple(bars),
        margin=rule.margin,
        margin_text=margin_text,
        axis=f"difference in {name_metric(metric)} ({metric.better} is better)",
        lower=lower,
        higher=higher,
    )


def picture_curves(report: Report, arms: Sequence[str]) -> tuple[Lines, ...]:
    """Validation loss against steps, tokens, training seconds and training FLOPs; what no arm has is left out."""
    losses = {arm: report.arms[arm].curve for arm in arms if report.arms[arm].curve.mean}
    is_apart = any(curve.is_apart for curve in losses.values())
    apart = f" {_APART}" if is_apart else ""
    axes: dict[str, tuple[str, str, Mapping[str, Sequence[float] | None]]] = {
        "steps": ("optimizer steps", "", {arm: curve.steps for arm, curve in losses.items()}),
        "tokens": ("training tokens", "count", {arm: curve.tokens for arm, curve in losses.items()}),
        "seconds": ("training time", "seconds", {arm: report.arms[arm].curve_seconds for arm in losses}),
        "flops": ("training compute", "flops", {arm: _flops(report.arms[arm]) for arm in losses}),
    }
    pictures = []
    for name, (words, family, values) in axes.items():
        known = {arm: x for arm, x in values.items() if x and len(x) == len(losses[arm].mean)}
        if not known:
            continue
        divisor, unit = choose_scale(family, max(x[-1] for x in known.values())) if family else (1.0, "")
        series = tuple(_line(arm, arms.index(arm), [v / divisor for v in x], losses[arm]) for arm, x in known.items())
        pictures.append(
            Lines(
                name=f"loss-{name}",
                title=f"Loss against {words}",
                caption=f"Mean over seeds against {words}; the band runs from the lowest to the highest seed.{apart}",
                alt=f"Validation loss against {words}, a line with a seed band per arm. "
                + f"Curves end at {', '.join(f'{s.y[-1]:.4g} ({s.label})' for s in series)}.",
                x_label=f"{words}, {unit}" if unit else words,
                y_label=find_word("val_loss").label(),
                series=series,
            )
        )
    return tuple(pictures)


def picture_costs(report: Report, arms: Sequence[str]) -> tuple[Dots, ...]:
    """Final validation loss against training seconds and training FLOPs, a dot per run."""
    costs = {
        "seconds": ("training time", "seconds", lambda arm: _values(arm.measured, "training_seconds")),
        "flops": ("training compute", "flops", _run_flops),
    }
    losses = {arm: _values(report.arms[arm].metrics, "val_loss") for arm in arms}
    pictures = []
    for name, (words, family, read) in costs.items():
        pairs = {arm: _known_pairs(read(report.arms[arm]), losses[arm]) for arm in arms}
        pairs = {arm: found for arm, found in pairs.items() if found}
        if not pairs:
            continue
        divisor, unit = choose_scale(family, max(x for found in pairs.values() for x, _ in found))
        label = f"{words}, {unit}" if unit else words
        pictures.append(
            Dots(
                name=f"cost-{name}",
                title=f"Final loss against {words}",
                caption=f"A dot per run: final validation loss against {words}. Down and to the left is better.",
                alt=f"Final validation loss against {words}, a dot per run of {', '.join(pairs)}.",
                x_label=label,
                y_label=find_word("val_loss").label(),
                series=tuple(
                    Series(
                        shorten(arm), arms.index(arm), tuple(x / divisor for x, _ in found), tuple(y for _, y in found)
                    )
                    for arm, found in pairs.items()
                ),
            )
        )
    return tuple(pictures)


def decide_decimals(comparison: Comparison) -> int | None:
    """Decimals of a comparison's numbers: two significant digits of the sd, else three of the mean."""
    decimals = choose_decimals(comparison.sd)
    return choose_decimals(comparison.mean, 3) if decimals is None else decimals


def shorten(name: str) -> str:
    """A name on one line, cut to what fits beside a figure."""
    return textwrap.shorten(name, _LONGEST_NAME, placeholder="…") if " " in name.strip() else _cut(name)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _who(pair: Pair) -> str:
    both = {"baseline": pair.baseline_status, "treatment": pair.treatment_status}
    names = [name for name, status in both.items() if status != "done"]
    return f"{' and '.join(names)} diverged" if names else "not finite"


def _line(arm: str, place: int, x: Sequence[float], curve: Curve) -> Series:
    kept = [i for i, y in enumerate(curve.mean) if is_known(y) and is_known(x[i])]
    y, low, high = (tuple(values[i] for i in kept) for values in (curve.mean, curve.low, curve.high))
    return Series(shorten(arm), place, tuple(x[i] for i in kept), y, low, high)


def _flops(arm: ArmSummary) -> list[float] | None:
    """Training FLOPs at every evaluation of the curve."""
    per_token = arm.mean("training_flops_per_token")
    return [count * per_token for count in arm.curve.tokens] if is_known(per_token) else None


def _run_flops(arm: ArmSummary) -> list[float | None]:
    pairs = zip(_values(arm.metrics, "tokens"), _values(arm.metrics, "training_flops_per_token"), strict=False)
    return [tokens * flops if is_known(tokens) and is_known(flops) else None for tokens, flops in pairs]


def _values(table: Mapping[str, Summary], key: str) -> tuple[float | None, ...]:
    return table.get(key, Summary()).values


def _known_pairs(xs: Sequence[Any], ys: Sequence[Any]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(xs, ys, strict=False) if is_known(x) and is_known(y)]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
