"""Tables of a report: every metric of every arm, and what was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.design.metrics import OF_CURVE
from paribus.design.specs import public_name
from paribus.design.study import BASELINE
from paribus.reports.edits import describe_value, is_spec
from paribus.reports.formatting import MISSING, choose_scale, is_known, write_count, write_number, write_row
from paribus.reports.metric_names import FLOPS, GROUPS, TARGETS, WORDS, Word, find_word

_TRANSFORMER = "paribus.nn:Transformer"
_TEXT = "paribus.data:Text"


@dataclass(frozen=True)
class Table:
    """Formatted cells; the first column names its row. ``is_text``: the others hold words, not numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_text: bool = False


def tabulate_metrics(judged: Mapping[str, Any], arms: Sequence[str]) -> tuple[Table, ...]:
    header = ["mean ± sd over runs"]
    for arm in arms:
        summary = judged["arms"][arm]
        diverged = f", {summary['diverged']} diverged" if summary["diverged"] else ""
        header.append(f"{arm} ({write_count(len(summary['seeds']), 'run')}{diverged})")
    tables: dict[str, list[tuple[str, ...]]] = {group: [] for group in GROUPS}
    blocks = ((False, {arm: judged["arms"][arm]["metrics"] for arm in arms}), (True, judged["measured"]))
    for measured, block in blocks:
        own = {arm: {k: v for k, v in block.get(arm, {}).items() if isinstance(v, Mapping)} for arm in arms}
        for key in _order_keys(own, arms):
            metric = judged["study"]["metric"]
            if key == metric["key"]:
                word = find_word(key, metric["unit"], "quality")
            else:
                word = find_word(key, group="clock" if measured else "other")
            tables[word.group].append(_tabulate_metric(key, word, [own[arm].get(key) for arm in arms], judged))
    captions = dict(GROUPS)
    if judged["device"] == "cpu":
        captions["clock"] += " (runs side by side, one thread each on a CPU)"
    return tuple(Table(captions[group], tuple(header), tuple(rows)) for group, rows in tables.items() if rows)


def _order_keys(block: Mapping[str, Mapping[str, Any]], arms: Sequence[str]) -> list[str]:
    keys = {key for arm in arms for key in block[arm]}
    return [key for key in WORDS if key in keys] + sorted(keys - WORDS.keys())


def _tabulate_metric(key: str, word: Word, summaries: list[Any], judged: Mapping[str, Any]) -> tuple[str, ...]:
    means = [s["mean"] for s in summaries if s and is_known(s.get("mean"))]
    largest = max(map(abs, means), default=None)
    if word.family == "percent":
        divisor, unit = 0.01, "%"
    else:
        divisor, unit = choose_scale(word.family, largest) if word.family else (1.0, "")
    cells = write_row(summaries, divisor)
    if key in TARGETS:
        target = judged["study"]["arms"][BASELINE]["training"].get("target_loss")
        absent = "never" if is_known(target) else "no target set"
        cells = [absent if cell == MISSING and s else cell for cell, s in zip(cells, summaries, strict=True)]
        note = f"{target:g} nats/token on the loss curve, interpolated" if is_known(target) else ""
    else:
        note = _note_metric(key, judged)
    label = word.label(unit)
    return (f"{label} ({note})" if note else label, *cells)


def _note_metric(key: str, judged: Mapping[str, Any]) -> str:
    """What a reader must know to read a metric's row right, "" for most."""
    if key in FLOPS:
        return "causal attention counted as full"
    notes = ["of the loss curve"] if key in OF_CURVE and _is_apart(judged) else []
    parts = [share for share in gather(judged, "epochs") if share < 1]
    if key == "loss_reduction_per_epoch" and parts:
        notes.append(f"extrapolated from {write_span(parts, write_number)} of an epoch")
    return ", ".join(notes)


def _is_apart(judged: Mapping[str, Any]) -> bool:
    """Whether the final loss was scored apart from the curve."""
    return any(arm["curve"].get("is_apart") for arm in judged["arms"].values())


def tabulate_trained(judged: Mapping[str, Any]) -> Table:
    """Model, recipe and data of the baseline; what the other arms change is listed as edits."""
    arm, data = judged["study"]["arms"][BASELINE], judged["study"]["data"]
    recipe = arm["training"]
    metrics = judged["arms"].get(BASELINE, {}).get("metrics", {})
    parameters, epochs = (metrics.get(key, {}).get("mean") for key in ("parameters", "epochs"))
    batch, micro = recipe["batch_tokens"], recipe.get("micro_batch_tokens")
    steps = recipe["tokens"] // batch
    schedule, clip = recipe.get("schedule"), recipe.get("clip")
    side = recipe.get("evaluation_side", "validation")
    averaged = round(recipe.get("averaged", 0) * steps)
    rows = [
        *_describe_model(arm["model"]),
        ("parameters", f"{parameters:,.0f}" if is_known(parameters) else MISSING),
        ("optimizer", describe_value(recipe.get("optimizer"))),
        ("schedule", describe_value(schedule) if schedule else "cosine to zero after 5 % warm-up"),
        ("steps", f"{steps:,}"),
        ("training tokens", f"{steps * batch:,}"),
        ("tokens per step", f"{batch:,}" + (f" in forward passes of {micro:,}" if micro else "")),
        ("tokens per window", f"{recipe['seq_len']:,}"),
        ("largest gradient norm (clip)", f"{clip:g}" if is_known(clip) else "none"),
        ("precision", str(recipe.get("precision", MISSING))),
        ("share of an epoch", write_epochs([epochs]) if is_known(epochs) else MISSING),
        *_describe_data(data, judged["data"]),
        ("scored", f"at most {recipe['evaluation_tokens']:,} tokens of the {side} side"),
        *([("scored weights", f"mean over the last {averaged} steps")] if averaged else []),
        *([("compiled", "in training, not in scoring")] if recipe.get("compile") else []),
        ("device", judged["device"]),
    ]
    if packages := judged.get("packages"):
        rows.append(("packages", ", ".join(f"{name} {packages[name]}" for name in sorted(packages))))
    return Table("What was trained", ("", BASELINE), tuple(rows), is_text=True)


def _describe_model(model: Any) -> Iterator[tuple[str, str]]:
    """The class with its plain arguments, then a row per part; of a list of parts the first stands for all."""
    if not is_spec(model):
        yield ("model", describe_value(model))
        return
    is_transformer = public_name(model["class"]) == _TRANSFORMER
    arguments = {"head": None, **model["arguments"]} if is_transformer else model["arguments"]
    lists = {name: v for name, v in sorted(arguments.items()) if isinstance(v, list) and any(map(is_spec, v))}
    parts = {name: v for name, v in sorted(arguments.items()) if is_spec(v)}
    is_tied = is_transformer and arguments["head"] is None
    apart = {*lists, *parts, *(("head",) if is_tied else ())}
    plain = {name: value for name, value in arguments.items() if name not in apart}
    yield ("model", describe_value({"class": model["class"], "arguments": plain}))
    for name, items in lists.items():
        first = items[0]
        alike = all(item == first for item in items)
        kind = describe_value({**first, "arguments": {}}) if is_spec(first) else describe_value(first)
        yield (name, f"{len(items)}, all equal: {kind}" if alike else f"{len(items)}, not all equal; 0 is {kind}")
        for inner, value in sorted(first["arguments"].items() if is_spec(first) else ()):
            yield (f"{name}.0.{inner}", describe_value(value))
    for name, value in parts.items():
        yield (name, describe_value(value))
    if public_name(model["class"]) == _TRANSFORMER:
        for name in ("final_norm", "position"):
            if name not in arguments:
                yield (name, "default")
    if is_tied:
        yield ("head", "tied to the embedding")


def _describe_data(data: Any, prepared: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield ("data", prepared.get("title", MISSING))
    if is_spec(data):
        others = {name: value for name, value in data["arguments"].items() if name != "tokenizer"}
        yield ("data source", describe_value({**data, "arguments": others}))
        if "tokenizer" in data["arguments"] or public_name(data["class"]) == _TEXT:
            yield ("tokenizer", describe_value(data["arguments"].get("tokenizer", "default")))
    else:
        yield ("data source", describe_value(data))


def gather(judged: Mapping[str, Any], key: str) -> list[float]:
    """The means of a metric over the arms that have it."""
    means = [arm["metrics"].get(key, {}).get("mean") for arm in judged["arms"].values()]
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
