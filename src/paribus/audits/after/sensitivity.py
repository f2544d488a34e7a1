"""What the runs beside the pairs say: would the verdict turn at another rate, size, or by rounding? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from paribus.audits.after.trained_study import ExtraRuns
from paribus.audits.checks import Check
from paribus.design.plain import to_plain
from paribus.design.study import BASELINE
from paribus.judgement import Comparison, Verdict
from paribus.judgement.evidence import Records
from paribus.judgement.pairs import orient
from paribus.judgement.power import NullCalibration
from paribus.judgement.registration import RegisteredRun, RegisteredStudy
from paribus.judgement.report_data import FinishedExtraRun
from paribus.judgement.tuned import Tuned
from paribus.store.records import Finding, Record

EXPLAINS = 0.5  # of a difference, that the size of the arm alone would make

Runs = Sequence[FinishedExtraRun]


def _look_at_tuning(extra: ExtraRuns) -> Iterator[Finding]:
    tuning = extra.judged.evidence.registration.tuning
    assert tuning is not None  # it is shown
    return find_tuning_flaws(tuning)


def _look_at_widths(extra: ExtraRuns) -> Iterator[Finding]:
    study, records, widths = extra.study, extra.by_numbers.records, extra.judged.extra_runs["widths"]
    seeds = {width.run.seed for width in widths}
    base = [_of_pairs(record, study.metric.key) for seed, record in records[BASELINE].items() if seed in seeds]
    comparisons, verdicts = extra.judged.comparisons, extra.by_numbers.verdicts
    return find_size_explanations(study, comparisons, verdicts, _sizes(records), widths, base)


def _look_at_rounding(extra: ExtraRuns) -> Iterator[Finding]:
    study, null = extra.study, extra.judged.null
    assert null is not None  # it is shown
    yield from find_noise_floor(study, null)
    same = {f.arm for f in extra.found if f.check == "same function" and f.evidence["other"] == BASELINE}
    for name, comparison in extra.judged.comparisons.items():
        if name in {*study.null, *same} and (finding := explain_by_rounding(comparison, null)):
            yield finding


LEARNING_RATE = Check[ExtraRuns](
    name="learning rate",
    when="after",
    severities=("note", "doubt"),
    sees="Without tuning: one pair more at half and at double the learning rate of each verdict "
    "(`Study(extra_rates=...)`). A difference that speaks against the verdict by more than one pair scatters (doubt); "
    "else the numbers (note). A baseline that gains more than the margin at one of these rates (note).",
    misses="Rates further away. A turn that is smaller than the noise of one pair. Recipes whose optimizer has no "
    "argument `lr`. Treatments without a verdict, and contrasts.",
    cost="two runs, and two of the baseline",
    needs="rates",
    find=lambda extra: find_rate_dependence(
        extra.study, extra.judged.comparisons, extra.by_numbers.verdicts, extra.judged.extra_runs["rates"]
    ),
)

TUNING = Check[ExtraRuns](
    name="tuning",
    when="after",
    severities=("note", "doubt"),
    sees="With `Study(tuning=...)`: what each arm was tried with and what was chosen (note). A best value at the edge "
    "of what was tried, after the grid was extended (doubt): it may lie beyond, so that a verdict better or worse "
    "becomes undecided.",
    misses="Hyper-parameters that were not named. A best value between two that were tried. Luck of one tuning seed.",
    cost="as many runs as trials times tuning seeds",
    needs="tuning",
    find=_look_at_tuning,
)

SIZE_RESPONSE = Check[ExtraRuns](
    name="size response",
    when="after",
    severities=("note", "doubt"),
    sees="With `Study(width_response=...)`: what the baseline gains by being wider, and so how much of each difference "
    "the treatment's number of parameters alone would make; more than half of a difference that carries a verdict is a "
    "doubt.",
    misses="Sizes other than the number of parameters. A response that is no straight line over log parameters.",
    cost="two runs of the baseline for each of the first `min_seeds` seeds",
    needs="widths",
    find=_look_at_widths,
)

NOISE_FLOOR = Check[ExtraRuns](
    name="noise floor",
    when="after",
    severities=("doubt",),
    sees="After `paribus calibrate STUDY`: a margin below twice the sd that rounding alone gives a pair, or, where "
    "contrasts alone get verdicts, the noisiest of them.",
    misses="Noise of the seeds, which the intervals carry. Rounding in longer runs.",
    cost="up to ten runs of the baseline, half of which the study then has",
    needs="null",
    find=_look_at_rounding,
)


def find_rate_dependence(
    study: RegisteredStudy,
    comparisons: Mapping[str, Comparison],
    verdicts: Mapping[str, Verdict | None],
    rates: Runs,
) -> Iterator[Finding]:
    """Whether the one pair at each other learning rate agrees with the verdict, as far as one pair can tell."""
    runs = {(rate.run.arm, rate.run.factor): rate for rate in rates}
    for name in study.primary:
        comparison = comparisons[name]
        verdict = verdicts[name]
        if verdict is None or verdict.kind in ("undecided", "invalid"):
            continue  # nothing that could turn
        pairs = {
            factor: (runs[BASELINE, factor], runs[name, factor])
            for factor in study.extra_rates
            if (BASELINE, factor) in runs and (name, factor) in runs
        }
        if pairs:
            yield _rate_finding(study, comparison, verdict, pairs)
    yield from _better_rate(study, comparisons, {rate.run.factor: rate for rate in rates if rate.run.arm == BASELINE})


def _better_rate(
    study: RegisteredStudy, comparisons: Mapping[str, Comparison], runs: Mapping[float | None, FinishedExtraRun]
) -> Iterator[Finding]:
    """Where the baseline itself gains more than a margin at another rate, on the seed that both were run on."""
    shared = next((comparisons[name].pairs[0].baseline for name in study.primary if comparisons[name].pairs), None)
    gains = {
        run.run.factor: orient(study.metric) * (shared - run.value)
        for run in runs.values()
        if run.run.factor and run.value is not None and shared is not None
    }
    factor = max(gains, key=lambda tried: gains[tried], default=None)
    if factor is not None and gains[factor] > study.margin:
        margins = f", {gains[factor] / study.margin:.2g} margins" if study.margin else ""
        yield Finding(
            check="learning rate",
            severity="note",
            message=f"the baseline is not at its best: in one run at {factor:g} x its learning rate it gains "
            f"{gains[factor]:.2g} {study.metric.unit}{margins}",
            arm=BASELINE,
            evidence={"gains": {f"{tried:g} x": gain for tried, gain in gains.items()}, "margin": study.margin},
            remedy="tune every arm with equal effort: Study(tuning=paribus.Tuning())",
        )


def find_tuning_flaws(tuning: Tuned) -> Iterator[Finding]:
    """A best value at the edge of what was tried; else what was tried and what was chosen."""
    stopped = f"; beyond it a trial failed: {tuning.stopped_by}" if tuning.stopped_by else ""
    for name, arm in tuning.arms.items():
        if arm.edges:
            said = ", ".join(f"{key} {arm.best[key]:.3g}" for key in arm.edges)
            tried = ", ".join(
                f"{key} from {tuning.over[key][0]:.3g} to {tuning.over[key][-1]:.3g}" for key in arm.edges
            )
            yield Finding(
                check="tuning",
                severity="doubt",
                message=f"the best of the {len(arm.curve)} trials of {name!r} lies at the edge of what was tried: "
                f"{said} ({tried}){stopped}",
                arm=name,
                evidence=to_plain({"best": arm.best, "edges": arm.edges, "over": tuning.over}),
                remedy="widen the values in Tuning(over=...), for all arms",
                bars=("better", "worse"),
            )
    said = "; ".join(
        f"{name}: {', '.join(f'{key} {value:.3g}' for key, value in arm.best.items())}"
        for name, arm in tuning.arms.items()
    )
    yield Finding(
        check="tuning",
        severity="note",
        message=f"each of the {len(tuning.arms)} arms was tuned with {tuning.n_trials} trials on seed"
        f"{'s' * (len(tuning.run_seeds) > 1)} {', '.join(map(str, tuning.run_seeds))}; chosen was {said}",
        evidence={"trials": tuning.n_trials, "seeds": list(tuning.run_seeds)},
    )


def find_size_explanations(
    study: RegisteredStudy,
    comparisons: Mapping[str, Comparison],
    verdicts: Mapping[str, Verdict | None],
    arms: Mapping[str, float],
    widths: Runs,
    base: Runs,
) -> Iterator[Finding]:
    """How much of each difference the number of parameters alone would make, by the baseline's own width.

    The response is a straight line of the metric over log parameters, fitted to the wider and narrower baselines
    after the mean of each seed is taken out; ``base`` are the baseline's own runs on the same seeds, ``arms`` the
    parameters of every arm.
    """
    fitted = _fit_response([*widths, *base])
    if fitted is None:
        return
    slope, error = fitted
    for name, comparison in comparisons.items():
        if comparison.mean is None or name not in arms:
            continue
        if arms[name] == arms[BASELINE]:
            yield Finding(
                check="size response",
                severity="note",
                message=f"{name!r} has as many parameters as the baseline, {arms[name]:,.0f}: their number explains "
                f"nothing of its difference of {comparison.mean:+.2g} {study.metric.unit}",
                arm=name,
                evidence={"parameters": arms[name], "difference": comparison.mean},
            )
            continue
        gap = math.log(arms[name] / arms[BASELINE])
        expected, blur = slope * gap, abs(error * gap)
        share = expected / comparison.mean if comparison.mean else math.inf
        decided = verdicts.get(name)
        carried = decided is not None and decided.kind in ("better", "worse")
        yield Finding(
            check="size response",
            severity="doubt" if carried and share > EXPLAINS else "note",
            message=f"{name!r} has {arms[name] / arms[BASELINE] - 1:+.1%} parameters, which would move the baseline by "
            f"{expected:+.2g} (standard error {blur:.1g}); the difference is {comparison.mean:+.2g} "
            f"{study.metric.unit}",
            arm=name,
            evidence={
                "slope_per_log_parameter": slope,
                "standard_error": error,
                "expected": expected,
                "difference": comparison.mean,
                "share_explained": share,
                "doubt_above": EXPLAINS,
            },
            remedy='ask at equal size: Arm(model, match="parameters", width=...)',
        )


def find_noise_floor(study: RegisteredStudy, null: NullCalibration) -> Iterator[Finding]:
    """A margin that rounding alone crosses: what the baseline's copies with nudged weights differ by.

    Where contrasts alone get verdicts, what rounding moves the noisiest of them by.
    """
    noises = [contrast.noise for contrast in study.contrasts.values()]
    scale, what = (max(noises), "contrast") if noises and not study.primary else (1.0, "pair")
    floor, margin = scale * null.floor_sd, study.margin
    if floor and margin < 2 * floor:
        yield Finding(
            check="noise floor",
            severity="doubt",
            message=f"the margin {margin:.3g} is {margin / floor:.2g} times the sd that rounding alone gives a "
            f"{what} ({floor:.2g} {study.metric.unit} over {null.n_seeds} pairs)",
            evidence={"margin": margin, "floor_sd": floor, "pairs": null.n_seeds, "doubt_below": 2.0},
            remedy="a difference that small cannot be acted on: choose a margin worth acting on, or quieter runs",
        )


def explain_by_rounding(comparison: Comparison, null: NullCalibration) -> Finding | None:
    """For an arm that is the baseline's function: whether its pairs scatter no more than rounding makes them."""
    if comparison.sd is None or not null.floor_sd:
        return None
    ratio = comparison.sd / null.floor_sd
    return Finding(
        check="same function",
        severity="note",
        message=f"{comparison.treatment!r} computes the baseline's function, or nearly; its pairs have {ratio:.2g} "
        f"times the sd that rounding alone makes ({comparison.sd:.2g} against {null.floor_sd:.2g})",
        arm=comparison.treatment,
        evidence={"sd": comparison.sd, "floor_sd": null.floor_sd, "ratio": ratio},
    )


def _of_pairs(record: Record, key: str) -> FinishedExtraRun:
    """A run of the pairs, as one beside them."""
    run, metrics = RegisteredRun(record.seed, record.digest), record.metrics
    return FinishedExtraRun(run, record.status, metrics.get(key), metrics.get("parameters"))


def _sizes(records: Records) -> dict[str, float]:
    """Parameters of the arms that have a finished run."""
    done = {arm: next((r for r in runs.values() if r.status == "done"), None) for arm, runs in records.items()}
    return {arm: record.metrics["parameters"] for arm, record in done.items() if record}


def _rate_finding(
    study: RegisteredStudy,
    comparison: Comparison,
    verdict: Verdict,
    pairs: Mapping[float, tuple[FinishedExtraRun, FinishedExtraRun]],
) -> Finding:
    kind, name, unit = verdict.kind, comparison.treatment, study.metric.unit
    sign = 1 if study.metric.better == "lower" else -1
    assert comparison.mean is not None
    blur = _one_pair_blur(comparison)
    tried = {
        factor: (before.value, after.value)
        for factor, (before, after) in pairs.items()
        if before.status == after.status == "done" and before.value is not None and after.value is not None
    }
    ends = {factor: [run.status for run in pair if run.status != "done"] for factor, pair in pairs.items()}
    broken = [f"at {factor:g} x a run {statuses[0]}" for factor, statuses in ends.items() if statuses]
    differences = {f"{factor:g} x": after - before for factor, (before, after) in tried.items()}
    if differences:
        differences["each arm's best of these rates"] = _difference_at_best(comparison, list(tried.values()), sign)
    turned = [
        where
        for where, difference in differences.items()
        if _turns(kind, sign * difference, sign * comparison.mean, blur, study.margin)
    ]
    shown = [f"{difference:+.3g} at {where}" for where, difference in differences.items()] + broken
    said = "the verdict may turn with the rate" if turned else "none turns the verdict, which one pair cannot rule out"
    crossed = _crossed(comparison, verdict, differences, study.margin)
    if crossed and not turned:
        side, claim = ("outside", "stays in") if kind == "equivalent" else ("within", "exceeds")
        said += f"; at {' and '.join(crossed)} it lies {side} the margin of {study.margin:.3g} that the verdict {claim}"
    return Finding(
        check="learning rate",
        severity="doubt" if turned else "note",
        message=f"{name!r} was compared at the shared learning rate alone ({comparison.mean:+.3g} {unit}); single "
        f"pairs give {', '.join(shown)}, where chance alone moves a pair by up to {blur:.2g}: {said}",
        arm=name,
        evidence={
            "verdict": kind,
            "difference": comparison.mean,
            "noise_of_one_pair": blur,
            "differences": differences,
            "turned_at": turned,
            "other_side_of_the_margin_at": crossed,
        },
        remedy="tune every arm with equal effort: Study(tuning=paribus.Tuning())",
    )


def _crossed(comparison: Comparison, verdict: Verdict, differences: Mapping[str, float], margin: float) -> list[str]:
    """Where a pair lies on another side of the margin than the verdict says, by chance or not."""
    assert comparison.mean is not None  # the runs at other rates come after the verdict
    if verdict.kind == "equivalent":
        return [where for where, difference in differences.items() if abs(difference) > margin]
    if verdict.qualifier != "by more than the margin":
        return []
    direction = math.copysign(1.0, comparison.mean)
    return [where for where, difference in differences.items() if direction * difference <= margin]


def _one_pair_blur(comparison: Comparison) -> float:
    """How far one more pair may lie from the mean of the others, with 95 % chance."""
    from scipy.stats import t

    n = comparison.n_pairs
    assert comparison.sd is not None
    return float(t.ppf(0.975, n - 1) * comparison.sd * math.sqrt(1 + 1 / n))


def _turns(kind: str, difference: float, mean: float, blur: float, margin: float) -> bool:
    """Whether a pair at another rate speaks against the verdict, beyond the noise of one pair; lower is better here."""
    if abs(difference - mean) <= blur:
        return False
    return {"better": difference >= 0, "worse": difference <= 0}.get(kind, abs(difference) > margin)


def _difference_at_best(comparison: Comparison, tried: Sequence[tuple[float, float]], sign: int) -> float:
    """Each arm at the best of the rates it was tried with, the shared one included; all on one seed."""
    shared = comparison.pairs[0]
    assert shared.baseline is not None and shared.treatment is not None  # a verdict stands on finite pairs
    best = [
        min([sign * own, *(sign * pair[place] for pair in tried)])
        for place, own in enumerate((shared.baseline, shared.treatment))
    ]
    return sign * (best[1] - best[0])


def _fit_response(runs: Runs) -> tuple[float, float] | None:
    """Slope of the metric over log parameters within seeds, and its standard error; None where too few runs ended."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        if run.status == "done" and run.parameters is not None and run.value is not None:
            by_seed.setdefault(run.run.seed, []).append((math.log(run.parameters), run.value))
    x: list[float] = []
    y: list[float] = []
    for points in by_seed.values():
        sizes, values = zip(*points, strict=True)
        x += [size - fmean(sizes) for size in sizes]
        y += [value - fmean(values) for value in values]
    spread = sum(size * size for size in x)
    freedom = len(x) - len(by_seed) - 1
    if spread == 0 or freedom < 1:
        return None
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / spread
    residual = sum((b - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    return slope, math.sqrt(residual / freedom / spread)
