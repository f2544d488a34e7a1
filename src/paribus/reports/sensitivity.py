"""What runs beside the pairs showed: tuning, other learning rates, other widths, the baseline against itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.reports.numbers import MISSING, choose_decimals, is_known, write_count, write_digits, write_number
from paribus.reports.numbers import write_signed as signed
from paribus.reports.pictures import Lines, Picture, Series, shorten
from paribus.reports.tables import Table
from paribus.reports.vocabulary import name_metric
from paribus.study import BASELINE

_CHANCES = {"equivalent": "equivalent", "better": "better", "undecided": "undecided"}
_SDS = {
    "best": "as close as a nudged copy",
    "middle": "between the two",
    "worst": "shares nothing with the baseline",
}


@dataclass(frozen=True)
class Section:
    """A part of the page that is there only where such runs were made."""

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...] = ()


def compose_sections(judged: Mapping[str, Any], arms: Sequence[str]) -> tuple[Section, ...]:
    """The sections that have something to show, ``arms`` in the order of the page."""
    trials = judged.get("trials") or {}
    made = (
        _compose_tuning(judged, arms) if judged.get("tuning") else None,
        _compose_rates(judged, trials["rates"], arms) if trials.get("rates") else None,
        _compose_widths(judged, trials["widths"]) if trials.get("widths") else None,
        _compose_null(judged["null"]) if judged.get("null") else None,
    )
    return tuple(section for section in made if section)


def describe_recipes(judged: Mapping[str, Any]) -> str:
    """What a verdict holds for where every arm was tuned."""
    tuning = judged["tuning"]
    n = max(len(arm["curve"]) for arm in tuning["arms"].values())
    return (
        f"This holds for arms that were each tuned with equal effort: {write_count(n, 'trial')} over "
        f"{', '.join(_name(key) for key in tuning['over'])}, on other seeds than the verdict's. A wider search may "
        "find better recipes."
    )


def _compose_tuning(judged: Mapping[str, Any], arms: Sequence[str]) -> Section:
    tuning = judged["tuning"]
    arms = [arm for arm in arms if arm in tuning["arms"]]
    keys = list(tuning["over"])
    header = (*map(_label, keys), *arms)
    curves = {arm: tuning["arms"][arm]["curve"] for arm in arms}
    points = [row["point"] for row in curves[arms[0]]]
    values = [[curve[place]["value"] for curve in curves.values()] for place in range(len(points))]
    decimals = _decimals([value for row in values for value in row])
    rows = []
    for point, row in zip(points, values, strict=True):
        cells = []
        for arm, value in zip(arms, row, strict=True):
            text = write_number(value, decimals) if is_known(value) else "diverged"
            cells.append(f"{text} (chosen)" if tuning["arms"][arm]["best"] == point else text)
        rows.append((*(write_digits(point[key], 3) for key in keys), *cells))
    seeds = ", ".join(map(str, tuning["run_seeds"]))
    grown = f", {tuning['extended']} of them added where a best one stood at the edge" if tuning["extended"] else ""
    sentence = (
        f"Every arm was tried at the same {write_count(len(points), 'point')}{grown}, on seed"
        f"{'s' * (len(tuning['run_seeds']) > 1)} {seeds}, which the verdict does not use. The runs of the verdict are "
        "fresh runs of what was chosen."
    )
    caption = f"Tuning: {name_metric(judged['study']['metric'])}"
    pictures = (_picture_tuning(judged, arms),) if len(keys) == 1 else ()
    return Section("Tuning", (sentence,), (Table(caption, header, tuple(rows)),), pictures)


def _picture_tuning(judged: Mapping[str, Any], arms: Sequence[str]) -> Lines:
    tuning = judged["tuning"]
    (key,) = tuning["over"]
    series = []
    for place, arm in enumerate(arms):
        rows = sorted(tuning["arms"][arm]["curve"], key=lambda row: row["point"][key])
        kept = [row for row in rows if is_known(row["value"])]
        low, high = ([f(v for v in row["values"] if is_known(v)) for row in kept] for f in (min, max))
        x, y = ([row["point"][key] for row in kept], [row["value"] for row in kept])
        series.append(Series(shorten(arm), place, tuple(x), tuple(y), tuple(low), tuple(high)))
    best = "; ".join(f"{arm} is best at {tuning['arms'][arm]['best'][key]:.3g}" for arm in arms)
    return Lines(
        name="tuning",
        title=f"Sensitivity to the {_name(key)}",
        caption=f"A line per arm over what was tried; the band runs from the lowest to the highest seed. {best}.",
        alt=f"{name_metric(judged['study']['metric'])} against {_name(key)}, a line per arm. {best}.",
        x_label=_label(key),
        y_label=name_metric(judged["study"]["metric"]),
        series=tuple(series),
        is_x_log=all(value > 0 for value in tuning["over"][key]),
    )


def _compose_rates(judged: Mapping[str, Any], rates: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> Section:
    found = {(row["factor"], row["arm"]): row for row in rates}
    first = judged["study"]["first_seed"]
    for name, treatment in judged["treatments"].items():
        comparison = treatment["comparison"]
        if first in comparison["seeds"]:
            place = comparison["seeds"].index(first)
            found[1.0, name] = {"value": comparison["values"][place]}
            found[1.0, BASELINE] = {"value": comparison["baseline"][place]}
    tried = [arm for arm in arms if any(name == arm and factor != 1 for factor, name in found)]
    factors = sorted({factor for factor, _ in found})
    values = {key: row["value"] for key, row in found.items()}
    decimals = _decimals(values.values())
    rows = []
    for factor in factors:
        before = values.get((factor, BASELINE))
        cells = []
        for arm in tried:
            value = values.get((factor, arm))
            text = write_number(value, decimals) if is_known(value) else _status(found.get((factor, arm)))
            if arm != BASELINE and is_known(value) and is_known(before):
                text += f" ({signed(value - before, decimals)})"
            cells.append(text)
        rows.append((f"{factor:g} x" + (" (shared)" if factor == 1 else ""), *cells))
    sentence = (
        f"No arm was tuned. One pair each, on seed {first}, at other learning rates: the numbers in brackets are "
        "differences from the baseline at the same rate. One pair tells a turn of the verdict from noise only where it "
        "is large; the notes and doubts say whether it is."
    )
    caption = f"Learning rates: {name_metric(judged['study']['metric'])}"
    return Section("Other learning rates", (sentence,), (Table(caption, ("learning rates", *tried), tuple(rows)),))


def _compose_widths(judged: Mapping[str, Any], widths: Sequence[Mapping[str, Any]]) -> Section:
    done = [row for row in widths if is_known(row["value"])]
    decimals = _decimals([row["value"] for row in done])
    rows = tuple(
        (f"{row['width']:,}", f"{row['parameters']:,.0f}", str(row["seed"]), write_number(row["value"], decimals))
        for row in sorted(done, key=lambda row: (row["width"], row["seed"]))
    )
    pattern = judged["study"]["width_response"]
    sentence = (
        f"The baseline with another {pattern}: what parameters alone are worth. The notes set it against each arm."
    )
    header = ("width", "parameters", "seed", name_metric(judged["study"]["metric"]))
    return Section("Size response", (sentence,), (Table("The baseline at other widths", header, rows),))


def _compose_null(null: Mapping[str, Any]) -> Section:
    unit = null["unit"]

    def spread(key: str) -> str:
        low, high = (write_digits(end) for end in null[f"{key}_interval"])
        return f"{write_digits(null[key])} (90 % interval {low} to {high}) {unit}"

    sentences = (
        f"The baseline has an sd of {spread('seed_sd')} over {null['n_seeds']} seeds.",
        f"Against its own copy, whose initial weights are moved by one unit in the last place, the paired differences "
        f"have an sd of {spread('floor_sd')}: what rounding alone makes.",
        *null["sentences"],
    )
    rows = []
    for key, sd in null["sds"].items():
        cells = []
        for power in null["powers"][key]:
            kind = max(_CHANCES, key=lambda word, power=power: power[word])
            cells.append(f"{100 * power[kind]:.0f} % {_CHANCES[kind]}, {power['pairs']:.1f} pairs")
        rows.append((_SDS[key], write_digits(sd), *cells, write_digits(null["smallest_margins"][key])))
    header = (
        "a treatment that is",
        "paired sd",
        "no difference",
        "one margin better",
        "two margins",
        "smallest margin",
    )
    caption = f"What up to {null['n_max']} pairs settle at the margin of {null['margin']:.4g} {unit}, by simulation"
    return Section("The baseline against itself", sentences, (Table(caption, header, tuple(rows), is_text=True),))


def _name(key: str) -> str:
    return "learning rate" if key == "learning_rate" else key


def _label(key: str) -> str:
    return "learning rate, times the study file's" if key == "learning_rate" else key


def _status(row: Mapping[str, Any] | None) -> str:
    return MISSING if row is None else row.get("status", MISSING)


def _decimals(values: Any) -> int | None:
    """Three digits of the spread between the values."""
    known = [value for value in values if is_known(value)]
    return choose_decimals(max(known) - min(known), 3) if known else None
