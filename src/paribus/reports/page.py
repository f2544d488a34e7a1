"""What a report says, as sentences and tables of formatted strings: markdown and html set the same content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.design.metrics import OF_CURVE
from paribus.design.spec_names import SpecName
from paribus.design.study import BASELINE
from paribus.judgement import Comparison, Outlook, Report
from paribus.judgement.registration import RegisteredStudy
from paribus.reports.contrasts_section import NO_EXTRA_RATES, Contrasts, compose_contrasts, explain_contrasts
from paribus.reports.edits import list_edits
from paribus.reports.extra_runs_section import describe_recipes
from paribus.reports.formatting import (
    MISSING,
    is_known,
    write_count,
    write_digits,
    write_number,
    write_range,
    write_signed,
)
from paribus.reports.metric_names import name_metric
from paribus.reports.pictures import (
    Differences,
    Picture,
    decide_decimals,
    picture_costs,
    picture_curves,
    picture_differences,
)
from paribus.reports.section import Section
from paribus.reports.sections import compose_sections
from paribus.reports.tables import Table, gather, tabulate_metrics, tabulate_trained, write_epochs, write_span
from paribus.reports.timing_section import Times, compose_times, note_clock
from paribus.store.records import Finding

MARKS = {"better": "+", "worse": "-", "equivalent": "=", "undecided": "?", "invalid": "!"}
"""A sign beside the word of a verdict: colour is never its only carrier."""


@dataclass(frozen=True)
class Reason:
    """A finding as a reader wants it: how bad, what, where, and what to do about it ("" for a note)."""

    severity: str
    message: str
    place: str
    remedy: str


@dataclass(frozen=True)
class Treatment:
    """One treatment: its verdict (or none), the picture that carries it, and the numbers.

    Args:
        kind: of the verdict; None for a descriptive treatment.
        lead, rest: the sentence, cut where its numbers begin.
        wider: the claim for other evaluation documents, "" where there is none.
        notes: what the judgement adds, without the findings, which stand on their own.
        picture: None where no pair has a difference.
    """

    name: str
    kind: str | None
    lead: str
    rest: str
    wider: str
    notes: tuple[str, ...]
    numbers: Table
    pairs: Table
    edits: Table
    picture: Differences | None


@dataclass(frozen=True)
class Page:
    """A whole report, in the order it is read; ``doubts`` are those that weaken a verdict."""

    question: str
    name: str
    standing: tuple[str, ...]
    summary: str
    primary: tuple[Treatment, ...]
    contrasts: Contrasts | None
    doubts: tuple[Reason, ...]
    limits: tuple[str, ...]
    notes: tuple[Reason, ...]
    described: tuple[Treatment, ...]
    described_doubts: tuple[Reason, ...]
    method: tuple[str, ...]
    metrics: tuple[Table, ...]
    trained: Table
    curves: tuple[Picture, ...]
    costs: tuple[Picture, ...]
    times: Times | None
    sections: tuple[Section, ...]
    clock_note: str
    failures: Table
    provenance: Table
    reproduce: tuple[tuple[str, str], ...]

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """Primary treatments, then descriptive ones."""
        return self.primary + self.described

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every figure of the page, in order."""
        beside = (picture for section in self.sections for picture in section.pictures)
        effects = [self.contrasts.picture] if self.contrasts and self.contrasts.picture else []
        return (*effects, *(t.picture for t in self.treatments if t.picture), *self.curves, *self.costs, *beside)


def compose_page(report: Report) -> Page:
    """The page of a report. The order of arms and treatments in it does not matter."""
    study, rows = report.study, report.treatments
    names = [name for name in study.primary if name in rows]
    names += sorted(name for name in rows if name not in names)
    treatments = [_compose_treatment(place, name, report) for place, name in enumerate(names, 1)]
    arms = [BASELINE, *names] if BASELINE in report.arms else names
    arms += sorted(arm for arm in report.arms if arm not in arms)
    weighed = {arm for contrast in study.contrasts.values() for arm in contrast.weights}
    described = {name for name in names if not rows[name].verdict} - weighed
    severe = [f for severity in ("invalid", "doubt") for f in report.findings if f.severity == severity]
    return Page(
        question=report.question,
        name=report.name,
        standing=_stand(report),
        summary=_summarize(report),
        primary=tuple(t for t in treatments if t.kind),
        contrasts=compose_contrasts(report, arms),
        doubts=tuple(_compose_reason(f) for f in severe if f.arm not in described),
        limits=_limit(report),
        notes=tuple(_compose_reason(f) for f in report.findings if f.severity == "note"),
        described=tuple(t for t in treatments if not t.kind),
        described_doubts=tuple(_compose_reason(f) for f in severe if f.arm in described),
        method=_explain(report),
        metrics=tabulate_metrics(report, arms),
        trained=tabulate_trained(report),
        curves=picture_curves(report, arms),
        costs=picture_costs(report, arms),
        times=compose_times(report, arms),
        sections=compose_sections(report, arms),
        clock_note=note_clock(report),
        failures=_tabulate_failures(report),
        provenance=_tabulate_provenance(report),
        reproduce=_reproduce(report),
    )


def name_severity(reasons: Sequence[Reason]) -> str:
    """How many findings weaken the verdict, in a sentence."""
    counts = {word: sum(r.severity == word for r in reasons) for word in ("invalid", "doubt")}
    if not any(counts.values()):
        return "The audits found no reason to doubt this comparison."
    said = []
    if counts["invalid"]:
        said.append(f"{write_count(counts['invalid'], 'fault')} that no verdict survives")
    if counts["doubt"]:
        said.append(f"{write_count(counts['doubt'], 'reason')} to doubt this comparison")
    return f"The audits found {' and '.join(said)}."


def _compose_treatment(place: int, name: str, report: Report) -> Treatment:
    row = report.treatments[name]
    comparison, verdict = row.comparison, row.verdict
    kind = verdict.kind if verdict else None
    sentence = verdict.sentence if verdict else f"{name} is described without a verdict: {row.description}."
    cut = sentence.find(": ", len(name) if sentence.startswith(name) else 0) + 1
    found = {finding.message.rstrip(".") for finding in report.findings}
    notes = [note for note in (verdict.notes if verdict else ()) if note.rstrip(".") not in found]
    if row.null:
        notes.insert(0, "This arm is registered as a null arm: meant to be the same function as the baseline.")
    return Treatment(
        name=name,
        kind=kind,
        lead=sentence[:cut] or sentence,
        rest=sentence[cut:].strip() if cut else "",
        wider=verdict.wider_sentence if verdict else "",
        notes=tuple(notes),
        numbers=Table(
            f"{name} - baseline",
            (f"{name} - baseline", name_metric(comparison.metric)),
            _list_numbers(comparison, kind),
        ),
        pairs=_tabulate_pairs(name, comparison),
        edits=_tabulate_edits(name, report.study),
        picture=picture_differences(place, name, comparison),
    )


def _list_numbers(comparison: Comparison, kind: str | None) -> tuple[tuple[str, str], ...]:
    rule, decimals = comparison.rule, decide_decimals(comparison)
    n, seeds = comparison.n_pairs, comparison.seeds
    span = "" if not seeds else f", seed {seeds[0]}" if n == 1 else f", seeds {seeds[0]} to {seeds[-1]}"
    rows = [("seed pairs", f"{n} (registered: {rule.n_min} to {rule.n_max}{span})")]
    if is_known(comparison.mean):
        rows.append(("mean difference", write_signed(comparison.mean, decimals)))
    if is_known(comparison.sd):
        rows.append(("sd of the differences", write_digits(comparison.sd)))
    if comparison.interval:
        rows.append((f"interval ({comparison.coverage})", write_range(comparison.interval, decimals)))
    if kind == "equivalent" and comparison.equivalence_interval:
        label = f"equivalence interval ({100 * rule.alpha:.3g} % each side)"
        rows.append((label, write_range(comparison.equivalence_interval, decimals)))
    zero = "0 (equivalent only when bit-identical)"
    rows.append(("margin, the smallest difference worth acting on", f"±{rule.margin:.4g}" if rule.margin else zero))
    if is_known(comparison.sign_flip_p):
        rows.append(("exact sign-flip p, two-sided", write_digits(comparison.sign_flip_p)))
    if is_known(comparison.correlation):
        rows.append(("correlation between the arms over seeds", f"{comparison.correlation:.2f}"))
    if is_known(comparison.se_seed):
        rows.append(("standard error from seeds", write_digits(comparison.se_seed)))
    if is_known(comparison.se_doc):
        rows.append(("standard error from evaluation documents", write_digits(comparison.se_doc)))
    if comparison.wider_interval:
        rows.append(("interval for other documents of this kind", write_range(comparison.wider_interval, decimals)))
    if comparison.outlook:
        rows.append(("pairs that would settle it", _write_outlook(comparison.outlook)))
    return tuple(rows)


def _write_outlook(outlook: Outlook) -> str:
    if outlook.by == "extrapolation":
        return f"about {outlook.seeds:,}, more than one registration allows"
    return f"up to {outlook.seeds} on fresh seeds (chance of a verdict {100 * outlook.chance:.0f} %)"


def _tabulate_pairs(name: str, comparison: Comparison) -> Table:
    decimals = decide_decimals(comparison)

    def write(value: float | None, status: str) -> str:
        return "diverged" if status != "done" else write_number(value, decimals)

    rows = (
        (
            str(pair.seed),
            write(pair.baseline, pair.baseline_status),
            write(pair.treatment, pair.treatment_status),
            write_signed(pair.difference, decimals),
        )
        for pair in comparison.pairs
    )
    header = ("seed", BASELINE, name, "difference")
    return Table(f"{name}: every pair, {name_metric(comparison.metric)}", header, tuple(rows))


def _tabulate_edits(name: str, study: RegisteredStudy) -> Table:
    edits = list_edits(study.arms[BASELINE], study.arms[name])
    rows = [(", ".join(e.places), str(e.n_sites), e.before, e.after) for e in edits]
    declared = ", ".join(study.changes.get(name, ()))
    caption = f"{name} against baseline: {write_count(sum(e.n_sites for e in edits), 'change')}"
    caption += f"; registered as allowed to differ: {declared}" if declared else ""
    return Table(caption, ("where", "sites", BASELINE, name), tuple(rows), is_text=True)


def _compose_reason(finding: Finding) -> Reason:
    places = [f"arm {finding.arm}" if finding.arm else "", f"at {finding.site}" if finding.site else ""]
    place = ", ".join([finding.check, *filter(None, places)])
    remedy = "" if finding.severity == "note" else _end(finding.remedy)
    return Reason(finding.severity, _end(finding.message), place, remedy)


def _stand(report: Report) -> tuple[str, ...]:
    """What a reader must know before the verdict: that it is not finished, or not the first try."""
    standing = []
    if not report.is_complete:
        standing.append("Not finished: more pairs are to come, and every number below can still change.")
    if failed := len(report.failed_runs):
        standing.append(
            f"{write_count(failed, 'run')} failed, see below: mend the cause and run again. What is done is kept; "
            "a failed seed never silently leaves an average."
        )
    if report.attempt > 1:
        earlier = report.attempt - 1
        before = "1 earlier registration" if earlier == 1 else f"{earlier} earlier registrations"
        standing.append(
            f"Attempt {report.attempt}: {before} asked this question on these evaluation documents. "
            "The error rate holds for each attempt alone."
        )
    return tuple(standing)


def _tabulate_failures(report: Report) -> Table:
    """Failed runs and the last line of their errors, where a traceback says what happened."""
    runs = sorted(report.failed_runs, key=lambda run: (run.arm, run.seed))
    lines = [[line.strip() for line in (run.error or "").splitlines() if line.strip()] for run in runs]
    rows = [(run.arm, str(run.seed), error[-1] if error else MISSING) for run, error in zip(runs, lines, strict=True)]
    return Table("Failed runs", ("arm", "seed", "error"), tuple(rows), is_text=True)


def _summarize(report: Report) -> str:
    pairs = max((row.comparison.n_pairs for row in report.treatments.values()), default=0)
    title = report.data.get("title", "unnamed data")
    return f"Study {report.name} · {write_count(pairs, 'seed pair')} · {title} · {report.device}"


def _limit(report: Report) -> tuple[str, ...]:
    """What the verdicts do not say."""
    baseline = report.study.arms[BASELINE]
    recipe = baseline.training
    if report.tuning:
        shared = describe_recipes(report.tuning)
    elif any(arm.training != recipe for arm in report.study.treatments.values()):
        shared = (
            "This holds at the hyper-parameters registered for each arm; the recipes differ between arms (see below)."
        )
    else:
        rates = _learning_rates(baseline.optimizer)
        if list(rates) == ["lr"]:
            at = f" and the shared learning rate {rates['lr']:g}"
        else:
            said = [f"{name} {rate:g}" for name, rate in rates.items()]
            at = f" and the shared learning rate{'s' * (len(said) > 1)} {' and '.join(said)}" if said else ""
        shared = f"This holds at the shared hyper-parameters{at}. No arm was tuned for itself."
    title = report.data.get("title", "the data")
    side = "" if recipe.evaluation_side == "validation" else " (held back for confirmation)"
    tokens = recipe.evaluation_tokens
    if report.study.metric.key in OF_CURVE:
        tokens = min(tokens, recipe.curve_tokens)
    scored = f"at most {tokens:,} held-out tokens of {title}{side}, the same in every run"
    wider = any(row.verdict and row.verdict.wider_sentence for row in report.rows.values())
    if report.contrasts and not report.tuning:
        shared += f" {NO_EXTRA_RATES}"
    points = " The claim for other documents stands beside the numbers." if wider else ""
    evaluation = f"This holds for this evaluation set: {scored}.{points}"
    return tuple(line for line in (_limit_scale(report), shared, evaluation) if line)


def _limit_scale(report: Report) -> str:
    """How large and how long; ranges where the arms differ, "" before the first run."""
    parameters = gather(report, "parameters")
    if not parameters:
        return ""
    tokens = [arm.training.tokens for arm in report.study.arms.values()]
    epochs = gather(report, "epochs")
    share = f" ({write_epochs(epochs)})" if epochs else ""
    sizes = (
        f"{write_span(parameters, '{:,.0f}'.format)} parameters and {write_span(tokens, '{:,}'.format)} training tokens"
    )
    return f"This holds at {sizes}{share} of {report.data.get('title', 'the data')}."


def _learning_rates(optimizer: SpecName) -> dict[str, float]:
    """Every learning rate that the optimizer was given, ``lr`` first."""
    arguments = dict(optimizer.arguments)
    names = sorted((name for name in arguments if "lr" in name.split("_")), key=lambda name: (name != "lr", name))
    return {name: arguments[name] for name in names if is_known(arguments[name])}


def _explain(report: Report) -> tuple[str, ...]:
    metric = report.study.metric
    said = [
        report.method + " The error rate is exact for normally distributed differences; simulations with heavier "
        "tails (t with 5 degrees of freedom) stayed below it.",
        f"Judged is {name_metric(metric)} after the last step; {metric.better} is better. A difference is treatment "
        "minus baseline on the same seed: both runs share initial weights of equal path and shape, and the data order.",
    ]
    if metric.measure:
        said.append(
            f"{metric.key} is a metric of this study's own: the mean of {metric.measure} over the held-out "
            "tokens that count in it."
        )
    if any(not row.comparison.primary for row in report.treatments.values()):
        said += explain_contrasts(report)
        said.append("Descriptive treatments take no share of the error rate: they have intervals and no verdict.")
    return tuple(said)


def _tabulate_provenance(report: Report) -> Table:
    data = report.data
    rows = (
        ("data", data.get("title", MISSING)),
        ("data digest", data.get("digest", MISSING)),
        ("registration digest", report.registration_digest),
        ("attempt", str(report.attempt)),
    )
    return Table("Provenance", ("", "value"), rows, is_text=True)


def _reproduce(report: Report) -> tuple[tuple[str, str], ...]:
    """Commands and what they do; the name of a registration does not tell which file or built-in it came from."""
    study = report.study
    source = (
        f"with the study file or built-in name it came from, registered here as {report.name}; "
        f"max pairs {study.max_seeds}, seeds from {study.first_seed}"
    )
    if study.arms[BASELINE].training.evaluation_side == "confirm":
        commands: tuple[tuple[str, str], ...] = (("paribus run STUDY --confirm", source),)
    else:
        again = "the same on fresh seeds and documents that were held back"
        commands = (("paribus run STUDY", source), ("paribus run STUDY --confirm", again))
    return (*commands, ("paribus report STORE", "renders this page again from the store"))


def _end(sentence: str) -> str:
    return f"{sentence}." if sentence and not sentence.endswith((".", "!", "?")) else sentence
