"""What the extra runs showed: tuning, other learning rates, other widths, the baseline against itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from paribus.design.study import BASELINE
from paribus.judgement import Report
from paribus.judgement.pairs import orient
from paribus.judgement.tuned import Trial, Tuned
from paribus.reports.formatting import MISSING, choose_decimals, is_known, write_count, write_digits, write_number
from paribus.reports.formatting import write_signed as signed
from paribus.reports.metric_names import SHARED, name_metric
from paribus.reports.pictures import Lines, Series, shorten
from paribus.reports.section import Section
from paribus.reports.tables import Table

_NEVER = (None, MISSING)  # the value and the status of a run that is not there
_CHANCES = ("equivalent", "better", "undecided")
_BLOWN_UP = 4.0  # times the distance from the best trial to the middle one


def describe_recipes(tuning: Tuned) -> str:
    """What a verdict holds for where every arm was tuned."""
    return (
        f"This holds for arms that were each tuned with equal effort: {write_count(tuning.n_trials, 'trial')} over "
        f"{', '.join(map(_name, tuning.over))}, on other seeds than the verdict's. A wider search may "
        "find better recipes."
    )


def compose_tuning(report: Report, arms: Sequence[str]) -> Section | None:
    if not (tuning := report.tuning):
        return None
    arms = [arm for arm in arms if arm in tuning.arms]
    keys = list(tuning.over)
    header = (*map(_label, keys), *arms)
    curves = {arm: tuning.arms[arm].curve for arm in arms}
    points = [trial.point for trial in curves[arms[0]]]
    values = [[curve[place].value for curve in curves.values()] for place in range(len(points))]
    decimals = _decimals([value for row in values for value in row])
    rows = []
    for point, row in zip(points, values, strict=True):
        cells = []
        for arm, value in zip(arms, row, strict=True):
            text = write_number(value, decimals) if is_known(value) else "diverged"
            cells.append(f"{text} (chosen)" if tuning.arms[arm].best == point else text)
        rows.append((*(write_digits(point[key], 3) for key in keys), *cells))
    seeds = ", ".join(map(str, tuning.run_seeds))
    added = tuning.points_added
    grown = f", {added} of them added where a best one stood at the edge" if added else ""
    sentence = (
        f"Every arm was tried at the same {write_count(len(points), 'point')}{grown}, on seed"
        f"{'s' * (len(tuning.run_seeds) > 1)} {seeds}, which the verdict does not use. The runs of the verdict are "
        "fresh runs of what was chosen."
    )
    caption = f"Tuning: {name_metric(report.study.metric)}"
    pictures = (_picture_tuning(report, tuning, arms, "learning_rate" if "learning_rate" in keys else keys[0]),)
    return Section("Tuning", (sentence,), (Table(caption, header, tuple(rows)),), pictures)


def _picture_tuning(report: Report, tuning: Tuned, arms: Sequence[str], key: str) -> Lines:
    """Each arm at the best of the other hyper-parameters; trials that blew up are left out, and said."""
    sign = orient(report.study.metric)
    rows = {arm: _best_at_each(tuning.arms[arm].curve, key, sign) for arm in arms}
    limit = _limit([sign * value for found in rows.values() for _, value in found])
    series, left_out = [], 0
    for place, (arm, found) in enumerate(rows.items()):
        kept = [(trial, value) for trial, value in found if sign * value <= limit]
        left_out += len(found) - len(kept)
        low, high = ([f(v for v in trial.values if is_known(v)) for trial, _ in kept] for f in (min, max))
        x, y = [trial.point[key] for trial, _ in kept], [value for _, value in kept]
        series.append(Series(shorten(arm), place, tuple(x), tuple(y), tuple(low), tuple(high)))
    best = "; ".join(f"{arm} is best at {tuning.arms[arm].best[key]:.3g}" for arm in arms)
    others = "" if len(tuning.over) == 1 else ", each at the best of the other values tried"
    missing = f" {write_count(left_out, 'trial')} far worse than the others left out." if left_out else ""
    return Lines(
        name="tuning",
        title=f"Sensitivity to the {_name(key)}",
        caption=f"A line per arm over what was tried{others}; the band runs from the lowest to the highest seed. "
        f"{best}.{missing}",
        alt=f"{name_metric(report.study.metric)} against {_name(key)}, a line per arm. {best}.",
        x_label=_label(key),
        y_label=name_metric(report.study.metric),
        series=tuple(series),
        is_x_log=all(value > 0 for value in tuning.over[key]),
    )


def _best_at_each(curve: Sequence[Trial], key: str, sign: float) -> list[tuple[Trial, float]]:
    """The best trial at every value of ``key``, in their order, with its value; diverged ones are left out."""
    best: dict[float, tuple[Trial, float]] = {}
    for trial in curve:
        at = trial.point[key]
        if is_known(trial.value) and (at not in best or sign * trial.value < sign * best[at][1]):
            best[at] = trial, trial.value
    return [best[at] for at in sorted(best)]


def _limit(values: Sequence[float]) -> float:
    best, middle = min(values), median(values)
    return middle + _BLOWN_UP * (middle - best)


def compose_rates(report: Report, arms: Sequence[str]) -> Section | None:
    if not (rates := report.extra_runs.get("rates")):
        return None
    found = {(extra.run.factor, extra.run.arm): (extra.value, extra.status) for extra in rates}
    tried = [arm for arm in arms if any(name == arm for _, name in found)]
    first = report.study.first_seed
    for name, row in report.treatments.items():
        for pair in row.comparison.pairs:
            if pair.seed == first:
                found[1.0, name] = pair.treatment, pair.treatment_status
                found[1.0, BASELINE] = pair.baseline, pair.baseline_status
    decimals = _decimals(value for value, _ in found.values())
    rows = []
    for factor in sorted({factor for factor, _ in found if factor is not None}):
        before, _ = found.get((factor, BASELINE), _NEVER)
        cells = []
        for arm in tried:
            value, status = found.get((factor, arm), _NEVER)
            text = write_number(value, decimals) if is_known(value) else status
            if arm != BASELINE and is_known(value) and is_known(before):
                text += f" ({signed(value - before, decimals)})"
            cells.append(text)
        rows.append((f"{factor:g} x" + (" (shared)" if factor == 1 else ""), *cells))
    sentence = (
        f"No arm was tuned. One pair each, on seed {first}, at other learning rates: the numbers in brackets are "
        "differences from the baseline at the same rate. One pair tells a turn of the verdict from noise only where it "
        "is large; the notes and doubts say whether it is."
    )
    caption = f"Learning rates: {name_metric(report.study.metric)}"
    return Section("Other learning rates", (sentence,), (Table(caption, ("learning rates", *tried), tuple(rows)),))


def compose_widths(report: Report, arms: Sequence[str]) -> Section | None:
    if not (widths := report.extra_runs.get("widths")):
        return None
    runs = [(str(e.run.width), e.parameters, e.run.seed, e.value) for e in widths if is_known(e.value)]
    runs += _own_width(report, {extra.run.seed for extra in widths})
    decimals = _decimals(value for *_, value in runs)
    rows = tuple(
        (width, f"{parameters:,.0f}", str(seed), write_number(value, decimals))
        for width, parameters, seed, value in sorted(runs, key=lambda run: run[1:3])
    )
    pattern = report.study.width_response
    sentence = (
        f"The baseline with another {pattern}: what parameters alone are worth. The notes set it against each arm."
    )
    header = ("width", "parameters", "seed", name_metric(report.study.metric))
    return Section("Size response", (sentence,), (Table("The baseline at other widths", header, rows),))


def _own_width(report: Report, seeds: set[int]) -> list[tuple[str, float | None, int, float]]:
    """The baseline's own runs on ``seeds``, as they are compared."""
    longest = max((row.comparison for row in report.treatments.values()), key=lambda c: c.n_pairs)
    parameters = report.arms[BASELINE].mean("parameters")
    pairs = [(pair.seed, pair.baseline) for pair in longest.pairs if pair.seed in seeds]
    return [("its own", parameters, seed, value) for seed, value in pairs if is_known(value)]


def compose_null(report: Report, arms: Sequence[str]) -> Section | None:
    if not (null := report.null):
        return None
    unit = null.unit

    def spread(sd: float, interval: tuple[float, float]) -> str:
        return f"{sd:.2g} (90 % interval {interval[0]:.2g} to {interval[1]:.2g}) {unit}"

    sentences = (
        f"The baseline has an sd of {spread(null.seed_sd, null.seed_sd_interval)} over {null.n_seeds} seeds.",
        f"Against its own copy, whose initial weights are moved by one unit in the last place, the paired differences "
        f"have an sd of {spread(null.floor_sd, null.floor_sd_interval)}: what rounding alone makes.",
        *null.sentences,
    )
    rows = []
    for key, sd in null.sds.items():
        cells = []
        for power in null.powers[key]:
            kind = max(_CHANCES, key=vars(power).__getitem__)
            cells.append(f"{100 * vars(power)[kind]:.0f} % {kind}, {power.pairs:.1f} pairs")
        rows.append((SHARED[key], f"{sd:.2g}", *cells, f"{null.smallest_margins[key]:.2g}"))
    header = (
        "what is compared",
        "paired sd",
        "no difference",
        "one margin better",
        "two margins",
        "smallest margin",
    )
    caption = f"What up to {null.n_max} pairs settle at the margin of {null.margin:.4g} {unit}, by simulation"
    return Section("The baseline against itself", sentences, (Table(caption, header, tuple(rows), is_text=True),))


def _name(key: str) -> str:
    return "learning rate" if key == "learning_rate" else key


def _label(key: str) -> str:
    return "learning rate, times the study file's" if key == "learning_rate" else key


def _decimals(values: Iterable[float | None]) -> int | None:
    """Three digits of the spread around the middle: one trial that blew up must not hide the others."""
    known = sorted(value for value in values if is_known(value))
    inner = known[len(known) // 4 : len(known) - len(known) // 4]
    return choose_decimals(max(inner) - min(inner), 3) if inner else None
