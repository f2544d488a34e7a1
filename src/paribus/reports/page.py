"""What a report says, as sentences and tables of formatted strings: markdown and html set the same content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.design.metrics import OF_CURVE
from paribus.design.study import BASELINE
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


def compose_page(judged: Mapping[str, Any]) -> Page:
    """The page of a judged study. The order of keys in ``judged`` does not matter."""
    study, rows = judged["study"], judged["treatments"]
    names = [name for name in study["primary"] if name in rows]
    names += sorted(name for name in rows if name not in names)
    treatments = [_compose_treatment(place, name, judged) for place, name in enumerate(names, 1)]
    arms = [BASELINE, *names] if BASELINE in judged["arms"] else names
    arms += sorted(arm for arm in judged["arms"] if arm not in arms)
    weighed = {arm for contrast in study.get("contrasts", {}).values() for arm in contrast["weights"]}
    described = {name for name in names if not rows[name]["verdict"]} - weighed
    severe = [f for severity in ("invalid", "doubt") for f in judged["findings"] if f["severity"] == severity]
    return Page(
        question=judged["question"],
        name=judged["name"],
        standing=_stand(judged),
        summary=_summarize(judged),
        primary=tuple(t for t in treatments if t.kind),
        contrasts=compose_contrasts(judged, arms),
        doubts=tuple(_compose_reason(f) for f in severe if f["arm"] not in described),
        limits=_limit(judged),
        notes=tuple(_compose_reason(f) for f in judged["findings"] if f["severity"] == "note"),
        described=tuple(t for t in treatments if not t.kind),
        described_doubts=tuple(_compose_reason(f) for f in severe if f["arm"] in described),
        method=_explain(judged),
        metrics=tabulate_metrics(judged, arms),
        trained=tabulate_trained(judged),
        curves=picture_curves(judged, arms),
        costs=picture_costs(judged, arms),
        times=compose_times(judged, arms),
        sections=compose_sections(judged, arms),
        clock_note=note_clock(judged),
        failures=_tabulate_failures(judged),
        provenance=_tabulate_provenance(judged),
        reproduce=_reproduce(judged),
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


def _compose_treatment(place: int, name: str, judged: Mapping[str, Any]) -> Treatment:
    row = judged["treatments"][name]
    comparison, verdict = row["comparison"], row["verdict"]
    if verdict:
        sentence, kind = verdict["sentence"], verdict["kind"]
    else:
        sentence, kind = f"{name} is described without a verdict: {row['description']}.", None
    cut = sentence.find(": ", len(name) if sentence.startswith(name) else 0) + 1
    found = {finding["message"].rstrip(".") for finding in judged["findings"]}
    notes = [note for note in (verdict["notes"] if verdict else ()) if note.rstrip(".") not in found]
    if row.get("null"):
        notes.insert(0, "This arm is registered as a null arm: meant to be the same function as the baseline.")
    return Treatment(
        name=name,
        kind=kind,
        lead=sentence[:cut] or sentence,
        rest=sentence[cut:].strip() if cut else "",
        wider=verdict["wider_sentence"] if verdict else "",
        notes=tuple(notes),
        numbers=Table(
            f"{name} - baseline",
            (f"{name} - baseline", name_metric(comparison["metric"])),
            _list_numbers(comparison, kind),
        ),
        pairs=_tabulate_pairs(name, comparison),
        edits=_tabulate_edits(name, judged["study"]),
        picture=picture_differences(place, name, comparison),
    )


def _list_numbers(comparison: Mapping[str, Any], kind: str | None) -> tuple[tuple[str, str], ...]:
    rule, decimals = comparison["rule"], decide_decimals(comparison)
    n, seeds = comparison["n_pairs"], comparison["seeds"]
    span = "" if not seeds else f", seed {seeds[0]}" if n == 1 else f", seeds {seeds[0]} to {seeds[-1]}"
    rows = [("seed pairs", f"{n} (registered: {rule['n_min']} to {rule['n_max']}{span})")]
    if is_known(comparison["mean"]):
        rows.append(("mean difference", write_signed(comparison["mean"], decimals)))
    if is_known(comparison["sd"]):
        rows.append(("sd of the differences", write_digits(comparison["sd"])))
    if comparison["interval"]:
        rows.append((f"interval ({comparison['coverage']})", write_range(comparison["interval"], decimals)))
    if kind == "equivalent" and comparison["equivalence_interval"]:
        label = f"equivalence interval ({100 * rule['alpha']:.3g} % each side)"
        rows.append((label, write_range(comparison["equivalence_interval"], decimals)))
    zero = "0 (equivalent only when bit-identical)"
    rows.append(
        ("margin, the smallest difference worth acting on", f"±{rule['margin']:.4g}" if rule["margin"] else zero)
    )
    if is_known(comparison["sign_flip_p"]):
        rows.append(("exact sign-flip p, two-sided", write_digits(comparison["sign_flip_p"])))
    if is_known(comparison["correlation"]):
        rows.append(("correlation between the arms over seeds", f"{comparison['correlation']:.2f}"))
    if is_known(comparison["se_seed"]):
        rows.append(("standard error from seeds", write_digits(comparison["se_seed"])))
    if is_known(comparison["se_doc"]):
        rows.append(("standard error from evaluation documents", write_digits(comparison["se_doc"])))
    if comparison["wider_interval"]:
        rows.append(("interval for other documents of this kind", write_range(comparison["wider_interval"], decimals)))
    if comparison["outlook"]:
        rows.append(("pairs that would settle it", _write_outlook(comparison["outlook"])))
    return tuple(rows)


def _write_outlook(outlook: Mapping[str, Any]) -> str:
    if outlook["by"] == "extrapolation":
        return f"about {outlook['seeds']:,}, more than one registration allows"
    return f"up to {outlook['seeds']} on fresh seeds (chance of a verdict {100 * outlook['chance']:.0f} %)"


def _tabulate_pairs(name: str, comparison: Mapping[str, Any]) -> Table:
    decimals = decide_decimals(comparison)

    def write(value: float | None, status: str) -> str:
        return "diverged" if status != "done" else write_number(value, decimals)

    rows = (
        (str(seed), write(before, status[0]), write(after, status[1]), write_signed(difference, decimals))
        for seed, before, after, difference, status in zip(
            comparison["seeds"],
            comparison["baseline"],
            comparison["values"],
            comparison["differences"],
            zip(comparison["baseline_status"], comparison["treatment_status"], strict=True),
            strict=True,
        )
    )
    header = ("seed", BASELINE, name, "difference")
    return Table(f"{name}: every pair, {name_metric(comparison['metric'])}", header, tuple(rows))


def _tabulate_edits(name: str, study: Mapping[str, Any]) -> Table:
    arms = study["arms"]
    edits = list_edits(arms[BASELINE], arms[name]) if name in arms and BASELINE in arms else ()
    rows = [(", ".join(e.places), str(e.n_sites), e.before, e.after) for e in edits]
    declared = ", ".join(study.get("changes", {}).get(name, ()))
    caption = f"{name} against baseline: {write_count(sum(e.n_sites for e in edits), 'change')}"
    caption += f"; registered as allowed to differ: {declared}" if declared else ""
    return Table(caption, ("where", "sites", BASELINE, name), tuple(rows), is_text=True)


def _compose_reason(finding: Mapping[str, Any]) -> Reason:
    places = [
        f"arm {finding['arm']}" if finding.get("arm") else "",
        f"at {finding['site']}" if finding.get("site") else "",
    ]
    place = ", ".join([finding["check"], *filter(None, places)])
    remedy = "" if finding["severity"] == "note" else _end(finding.get("remedy") or "")
    return Reason(finding["severity"], _end(finding["message"]), place, remedy)


def _stand(judged: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know before the verdict: that it is not finished, or not the first try."""
    standing = []
    if not judged["complete"]:
        standing.append("Not finished: more pairs are to come, and every number below can still change.")
    if failed := len(judged.get("failed_runs", ())):
        standing.append(
            f"{write_count(failed, 'run')} failed, see below: mend the cause and run again. What is done is kept; "
            "a failed seed never silently leaves an average."
        )
    if judged["attempt"] > 1:
        earlier = judged["attempt"] - 1
        before = "1 earlier registration" if earlier == 1 else f"{earlier} earlier registrations"
        standing.append(
            f"Attempt {judged['attempt']}: {before} asked this question on these evaluation documents. "
            "The error rate holds for each attempt alone."
        )
    return tuple(standing)


def _tabulate_failures(judged: Mapping[str, Any]) -> Table:
    """Failed runs and the last line of their errors, where a traceback says what happened."""
    runs = sorted(judged.get("failed_runs", ()), key=lambda run: (run["arm"], run["seed"]))
    lines = [[line.strip() for line in (run["error"] or "").splitlines() if line.strip()] for run in runs]
    rows = [
        (run["arm"], str(run["seed"]), error[-1] if error else MISSING) for run, error in zip(runs, lines, strict=True)
    ]
    return Table("Failed runs", ("arm", "seed", "error"), tuple(rows), is_text=True)


def _summarize(judged: Mapping[str, Any]) -> str:
    pairs = max((row["comparison"]["n_pairs"] for row in judged["treatments"].values()), default=0)
    title = judged["data"].get("title", "unnamed data")
    return f"Study {judged['name']} · {write_count(pairs, 'seed pair')} · {title} · {judged['device']}"


def _limit(judged: Mapping[str, Any]) -> tuple[str, ...]:
    """What the verdicts do not say."""
    study = judged["study"]
    recipe = study["arms"][BASELINE]["training"]
    others = [arm["training"] for name, arm in study["arms"].items() if name != BASELINE]
    if judged.get("tuning"):
        shared = describe_recipes(judged)
    elif any(other != recipe for other in others):
        shared = (
            "This holds at the hyper-parameters registered for each arm; the recipes differ between arms (see below)."
        )
    else:
        rates = _learning_rates(recipe)
        if list(rates) == ["lr"]:
            at = f" and the shared learning rate {rates['lr']:g}"
        else:
            said = [f"{name} {rate:g}" for name, rate in rates.items()]
            at = f" and the shared learning rate{'s' * (len(said) > 1)} {' and '.join(said)}" if said else ""
        shared = f"This holds at the shared hyper-parameters{at}. No arm was tuned for itself."
    title = judged["data"].get("title", "the data")
    side = "" if recipe.get("evaluation_side", "validation") == "validation" else " (held back for confirmation)"
    tokens = recipe["evaluation_tokens"]
    if judged["study"]["metric"]["key"] in OF_CURVE:
        tokens = min(tokens, recipe.get("curve_tokens", tokens))
    scored = f"at most {tokens:,} held-out tokens of {title}{side}, the same in every run"
    rows = [*judged["treatments"].values(), *judged.get("contrasts", {}).values()]
    wider = any(row["verdict"] and row["verdict"]["wider_sentence"] for row in rows)
    if judged.get("contrasts") and not judged.get("tuning"):
        shared += f" {NO_EXTRA_RATES}"
    points = " The claim for other documents stands beside the numbers." if wider else ""
    evaluation = f"This holds for this evaluation set: {scored}.{points}"
    return tuple(line for line in (_limit_scale(judged), shared, evaluation) if line)


def _limit_scale(judged: Mapping[str, Any]) -> str:
    """How large and how long; ranges where the arms differ, "" before the first run."""
    parameters = gather(judged, "parameters")
    if not parameters:
        return ""
    tokens = [arm["training"]["tokens"] for arm in judged["study"]["arms"].values()]
    epochs = gather(judged, "epochs")
    share = f" ({write_epochs(epochs)})" if epochs else ""
    sizes = (
        f"{write_span(parameters, '{:,.0f}'.format)} parameters and {write_span(tokens, '{:,}'.format)} training tokens"
    )
    return f"This holds at {sizes}{share} of {judged['data'].get('title', 'the data')}."


def _learning_rates(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Every learning rate that the optimizer was given, ``lr`` first."""
    optimizer = recipe.get("optimizer")
    arguments = optimizer.get("arguments", {}) if isinstance(optimizer, Mapping) else {}
    names = sorted((name for name in arguments if "lr" in name.split("_")), key=lambda name: (name != "lr", name))
    return {name: arguments[name] for name in names if is_known(arguments[name])}


def _explain(judged: Mapping[str, Any]) -> tuple[str, ...]:
    study = judged["study"]
    metric = study["metric"]
    said = [
        judged["method"] + " The error rate is exact for normally distributed differences; simulations with heavier "
        "tails (t with 5 degrees of freedom) stayed below it.",
        f"Judged is {name_metric(metric)} after the last step; {metric['better']} is better. A difference is treatment "
        "minus baseline on the same seed: both runs share initial weights of equal path and shape, and the data order.",
    ]
    if "measure" in metric:
        said.append(
            f"{metric['key']} is a metric of this study's own: the mean of {metric['measure']} over the held-out "
            "tokens that count in it."
        )
    if any(not row["primary"] for row in judged["treatments"].values()):
        said += explain_contrasts(judged)
        said.append("Descriptive treatments take no share of the error rate: they have intervals and no verdict.")
    return tuple(said)


def _tabulate_provenance(judged: Mapping[str, Any]) -> Table:
    data = judged["data"]
    rows = (
        ("data", data.get("title", MISSING)),
        ("data digest", data.get("digest", MISSING)),
        ("registration digest", judged["registration_digest"]),
        ("attempt", str(judged["attempt"])),
    )
    return Table("Provenance", ("", "value"), rows, is_text=True)


def _reproduce(judged: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Commands and what they do; the name of a registration does not tell which file or built-in it came from."""
    study = judged["study"]
    source = (
        f"with the study file or built-in name it came from, registered here as {judged['name']}; "
        f"max pairs {study['max_seeds']}, seeds from {study['first_seed']}"
    )
    if study["arms"][BASELINE]["training"].get("evaluation_side") == "confirm":
        commands: tuple[tuple[str, str], ...] = (("paribus run STUDY --confirm", source),)
    else:
        again = "the same on fresh seeds and documents that were held back"
        commands = (("paribus run STUDY", source), ("paribus run STUDY --confirm", again))
    return (*commands, ("paribus report STORE", "renders this page again from the store"))


def _end(sentence: str) -> str:
    return f"{sentence}." if sentence and not sentence.endswith((".", "!", "?")) else sentence
