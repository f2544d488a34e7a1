"""Tables of a report: every metric of every arm, and what was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.design.metrics import OF_CURVE
from paribus.design.spec_names import SpecName
from paribus.design.study import BASELINE
from paribus.judgement import Report
from paribus.judgement.summaries import ArmSummary, Summary
from paribus.reports.edits import describe_value
from paribus.reports.formatting import MISSING, choose_scale, is_known, write_count, write_number, write_row
from paribus.reports.metric_names import FLOPS, GROUPS, TARGETS, WORDS, Word, find_word


@dataclass(frozen=True)
class Table:
    """Formatted cells; the first column names its row. ``is_text``: the others hold words, not numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_text: bool = False


def tabulate_metrics(report: Report, arms: Sequence[str]) -> tuple[Table, ...]:
    header = ["mean ± sd over runs"]
    for arm in arms:
        summary = report.arms[arm]
        diverged = f", {summary.n_diverged} diverged" if summary.n_diverged else ""
        header.append(f"{arm} ({write_count(len(summary.seeds), 'run')}{diverged})")
    tables: dict[str, list[tuple[str, ...]]] = {group: [] for group in GROUPS}
    blocks = {
        "other": [report.arms[arm].metrics for arm in arms],
        "clock": [report.arms[arm].measured for arm in arms],
    }
    metric = report.study.metric
    for group, block in blocks.items():
        for key in _order_keys(block):
            word = find_word(key, metric.unit, "quality") if key == metric.key else find_word(key, group=group)
            tables[word.group].append(_tabulate_metric(key, word, [own.get(key, Summary()) for own in block], report))
    captions = dict(GROUPS)
    if report.device == "cpu":
        captions["clock"] += " (runs side by side, one thread each on a CPU)"
    return tuple(Table(captions[group], tuple(header), tuple(rows)) for group, rows in tables.items() if rows)


def _order_keys(block: Sequence[Mapping[str, Summary]]) -> list[str]:
    keys = {key for own in block for key in own}
    return [key for key in WORDS if key in keys] + sorted(keys - WORDS.keys())


def _tabulate_metric(key: str, word: Word, summaries: Sequence[Summary], report: Report) -> tuple[str, ...]:
    largest = max((abs(s.mean) for s in summaries if is_known(s.mean)), default=None)
    if word.family == "percent":
        divisor, unit = 0.01, "%"
    else:
        divisor, unit = choose_scale(word.family, largest) if word.family else (1.0, "")
    cells = write_row(summaries, divisor)
    if key in TARGETS:
        target = report.study.arms[BASELINE].training.target_loss
        absent = "never" if is_known(target) else "no target set"
        cells = [absent if cell == MISSING and s.values else cell for cell, s in zip(cells, summaries, strict=True)]
        note = f"{target:g} nats/token on the loss curve, interpolated" if is_known(target) else ""
    else:
        note = _note_metric(key, report)
    label = word.label(unit)
    return (f"{label} ({note})" if note else label, *cells)


def _note_metric(key: str, report: Report) -> str:
    """What a reader must know to read a metric's row right, "" for most."""
    if key in FLOPS:
        return "causal attention counted as full"
    notes = ["of the loss curve"] if key in OF_CURVE and _is_apart(report) else []
    parts = [share for share in gather(report, "epochs") if share < 1]
    if key == "loss_reduction_per_epoch" and parts:
        notes.append(f"extrapolated from {write_span(parts, write_number)} of an epoch")
    return ", ".join(notes)


def _is_apart(report: Report) -> bool:
    """Whether the final loss was scored apart from the curve."""
    return any(arm.curve.is_apart for arm in report.arms.values())


def tabulate_trained(report: Report) -> Table:
    """Model, recipe and data of the baseline; what the other arms change is listed as edits."""
    arm = report.study.arms[BASELINE]
    recipe = arm.training
    summary = report.arms.get(BASELINE, ArmSummary())
    parameters, epochs = summary.mean("parameters"), summary.mean("epochs")
    micro, averaged = recipe.micro_batch_tokens, recipe.averaged_steps
    rows = [
        *_describe_model(arm.model),
        ("parameters", f"{parameters:,.0f}" if is_known(parameters) else MISSING),
        ("optimizer", describe_value(arm.optimizer)),
        ("schedule", describe_value(arm.schedule) if arm.schedule else "cosine to zero after 5 % warm-up"),
        ("steps", f"{recipe.steps:,}"),
        ("training tokens", f"{recipe.trained_tokens:,}"),
        ("tokens per step", f"{recipe.batch_tokens:,}" + (f" in forward passes of {micro:,}" if micro else "")),
        ("tokens per window", f"{recipe.seq_len:,}"),
        ("largest gradient norm (clip)", f"{recipe.clip:g}" if is_known(recipe.clip) else "none"),
        ("precision", recipe.precision),
        ("share of an epoch", write_epochs([epochs]) if is_known(epochs) else MISSING),
        *_describe_data(report.study.data, report.data),
        ("scored", f"at most {recipe.evaluation_tokens:,} tokens of the {recipe.evaluation_side} side"),
        *([("scored weights", f"mean over the last {averaged} steps")] if averaged else []),
        *([("compiled", "in training, not in scoring")] if recipe.compile else []),
        ("device", report.device),
    ]
    if packages := report.packages:
        rows.append(("packages", ", ".join(f"{name} {packages[name]}" for name in sorted(packages))))
    return Table("What was trained", ("", BASELINE), tuple(rows), is_text=True)


def _describe_model(model: SpecName) -> Iterator[tuple[str, str]]:
    """The class with its plain arguments, then a row per part; of a list of parts the first stands for all."""
    arguments = dict(model.arguments)
    lists = {n: v for n, v in arguments.items() if isinstance(v, tuple) and any(isinstance(i, SpecName) for i in v)}
    parts = {name: value for name, value in arguments.items() if isinstance(value, SpecName)}
    plain = [(name, value) for name, value in model.arguments if name not in {*lists, *parts}]
    yield ("model", describe_value(SpecName(model.name, tuple(plain))))
    for name, items in lists.items():
        first = items[0]
        alike = all(item == first for item in items)
        kind = first.short_name if isinstance(first, SpecName) else describe_value(first)
        yield (name, f"{len(items)}, all equal: {kind}" if alike else f"{len(items)}, not all equal; 0 is {kind}")
        for inner, value in first.arguments if isinstance(first, SpecName) else ():
            yield (f"{name}.0.{inner}", describe_value(value))
    for name, part in parts.items():
        yield (name, describe_value(part))


def _describe_data(data: Any, prepared: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield ("data", prepared.get("title", MISSING))
    if isinstance(data, SpecName):
        given = dict(data.arguments)
        tokenizer = given.pop("tokenizer", None)
        yield ("data source", describe_value(SpecName(data.name, tuple(given.items()))))
        if tokenizer is not None:
            yield ("tokenizer", describe_value(tokenizer))
    else:
        yield ("data source", describe_value(data))


def gather(report: Report, key: str) -> list[float]:
    """The means of a metric over the arms that have it."""
    means = [arm.mean(key) for arm in report.arms.values()]
    return [mean for mean in means if is_known(mean)]


def write_span(values: Sequence[float], write: Callable[[float], str]) -> str:
    """One number, or the smallest and the largest."""
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def write_epochs(epochs: Sequence[float]) -> str:
    if max(epochs) < 1:
        return f"{write_span([100 * share for share in epochs], write_number)} % of an epoch"
    passes = write_span(epochs, write_number)
    return f"{passes} {'pass' if passes == '1' else 'passes'} over the corpus"
