"""What the extra runs showed: tuning, other learning rates, other widths, the baseline against itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from paribus.design.study import BASELINE
from paribus.reports.formatting import MISSING, choose_decimals, is_known, write_count, write_digits, write_number
from paribus.reports.formatting import write_signed as signed
from paribus.reports.metric_names import SHARED, name_metric
from paribus.reports.pictures import Lines, Series, shorten
from paribus.reports.section import Section
from paribus.reports.tables import Table

_CHANCES = ("equivalent", "better", "undecided")
_BLOWN_UP = 4.0  # times the distance from the best trial to the middle one


def describe_recipes(judged: Mapping[str, Any]) -> str:
    """What a verdict holds for where every arm was tuned."""
    tuning = judged["tuning"]
    n = max(len(arm["curve"]) for arm in tuning["arms"].values())
    return (
        f"This holds for arms that were each tuned with equal effort: {write_count(n, 'trial')} over "
        f"{', '.join(_name(key) for key in tuning['over'])}, on other seeds than the verdict's. A wider search may "
        "find better recipes."
    )


def compose_tuning(judged: Mapping[str, Any], arms: Sequence[str]) -> Section | None:
    if not (tuning := judged.get("tuning")):
        return None
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
    added = tuning["points_added"]
    grown = f", {added} of them added where a best one stood at the edge" if added else ""
    sentence = (
        f"Every arm was tried at the same {write_count(len(points), 'point')}{grown}, on seed"
        f"{'s' * (len(tuning['run_seeds']) > 1)} {seeds}, which the verdict does not use. The runs of the verdict are "
        "fresh runs of what was chosen."
    )
    caption = f"Tuning: {name_metric(judged['study']['metric'])}"
    pictures = (_picture_tuning(judged, arms, "learning_rate" if "learning_rate" in keys else keys[0]),)
    return Section("Tuning", (sentence,), (Table(caption, header, tuple(rows)),), pictures)


def _picture_tuning(judged: Mapping[str, Any], arms: Sequence[str], key: str) -> Lines:
    """Each arm at the best of the other hyper-parameters; trials that blew up are left out, and said."""
    tuning, sign = judged["tuning"], 1 if judged["study"]["metric"]["better"] == "lower" else -1
    rows = {arm: _best_at_each(tuning["arms"][arm]["curve"], key, sign) for arm in arms}
    limit = _limit([sign * row["value"] for found in rows.values() for row in found])
    series, left_out = [], 0
    for place, (arm, found) in enumerate(rows.items()):
        kept = [row for row in found if sign * row["value"] <= limit]
        left_out += len(found) - len(kept)
        low, high = ([f(v for v in row["values"] if is_known(v)) for row in kept] for f in (min, max))
        x, y = ([row["point"][key] for row in kept], [row["value"] for row in kept])
        series.append(Series(shorten(arm), place, tuple(x), tuple(y), tuple(low), tuple(high)))
    best = "; ".join(f"{arm} is best at {tuning['arms'][arm]['best'][key]:.3g}" for arm in arms)
    others = "" if len(tuning["over"]) == 1 else ", each at the best of the other values tried"
    missing = f" {write_count(left_out, 'trial')} far worse than the others left out." if left_out else ""
    return Lines(
        name="tuning",
        title=f"Sensitivity to the {_name(key)}",
        caption=f"A line per arm over what was tried{others}; the band runs from the lowest to the highest seed. "
        f"{best}.{missing}",
        alt=f"{name_metric(judged['study']['metric'])} against {_name(key)}, a line per arm. {best}.",
        x_label=_label(key),
        y_label=name_metric(judged["study"]["metric"]),
        series=tuple(series),
        is_x_log=all(value > 0 for value in tuning["over"][key]),
    )


def _best_at_each(curve: Sequence[Mapping[str, Any]], key: str, sign: int) -> list[Mapping[str, Any]]:
    """The best row at every value of ``key``, in the order of these; diverged ones are left out."""
    best: dict[float, Mapping[str, Any]] = {}
    for row in curve:
        value = row["point"][key]
        if is_known(row["value"]) and (value not in best or sign * row["value"] < sign * best[value]["value"]):
            best[value] = row
    return [best[value] for value in sorted(best)]


def _limit(values: Sequence[float]) -> float:
    best, middle = min(values), median(values)
    return middle + _BLOWN_UP * (middle - best)


def compose_rates(judged: Mapping[str, Any], arms: Sequence[str]) -> Section | None:
    if not (rates := (judged.get("trials") or {}).get("rates")):
        return None
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


def compose_widths(judged: Mapping[str, Any], arms: Sequence[str]) -> Section | None:
    if not (widths := (judged.get("trials") or {}).get("widths")):
        return None
    done = [row for row in [*widths, *_own_width(judged, {row["seed"] for row in widths})] if is_known(row["value"])]
    decimals = _decimals([row["value"] for row in done])
    rows = tuple(
        (str(row["width"]), f"{row['parameters']:,.0f}", str(row["seed"]), write_number(row["value"], decimals))
        for row in sorted(done, key=lambda row: (row["parameters"], row["seed"]))
    )
    pattern = judged["study"]["width_response"]
    sentence = (
        f"The baseline with another {pattern}: what parameters alone are worth. The notes set it against each arm."
    )
    header = ("width", "parameters", "seed", name_metric(judged["study"]["metric"]))
    return Section("Size response", (sentence,), (Table("The baseline at other widths", header, rows),))


def _own_width(judged: Mapping[str, Any], seeds: set[int]) -> list[dict[str, Any]]:
    """The baseline's own runs on ``seeds``, as they are compared."""
    longest = max((row["comparison"] for row in judged["treatments"].values()), key=lambda c: len(c["seeds"]))
    parameters = judged["arms"][BASELINE]["metrics"]["parameters"]["mean"]
    pairs = zip(longest["seeds"], longest["baseline"], strict=True)
    return [
        {"width": "its own", "parameters": parameters, "seed": seed, "value": value}
        for seed, value in pairs
        if seed in seeds
    ]


def compose_null(judged: Mapping[str, Any], arms: Sequence[str]) -> Section | None:
    if not (null := judged.get("null")):
        return None
    unit = null["unit"]

    def spread(key: str) -> str:
        low, high = null[f"{key}_interval"]
        return f"{null[key]:.2g} (90 % interval {low:.2g} to {high:.2g}) {unit}"

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
            kind = max(_CHANCES, key=power.__getitem__)
            cells.append(f"{100 * power[kind]:.0f} % {kind}, {power['pairs']:.1f} pairs")
        rows.append((SHARED[key], f"{sd:.2g}", *cells, f"{null['smallest_margins'][key]:.2g}"))
    header = (
        "what is compared",
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
    """Three digits of the spread around the middle: one trial that blew up must not hide the others."""
    known = sorted(value for value in values if is_known(value))
    inner = known[len(known) // 4 : len(known) - len(known) // 4]
    return choose_decimals(max(inner) - min(inner), 3) if inner else None
