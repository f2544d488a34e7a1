"""What a notebook shows of a study, a comparison, a verdict and a result: small HTML, of plain data.

Text and background are the page's own, light or dark; only the word of a verdict stands on a colour of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from paribus.specs import Change, describe

if TYPE_CHECKING:
    from paribus.study import Study

COLOURS = {
    "better": "#1a7f37",
    "worse": "#c93c37",
    "equivalent": "#1f6feb",
    "undecided": "#8a6a00",
    "invalid": "#b5389a",
}
"""Behind the white word of a verdict: at least 4.5 to 1 against it, and 3 to 1 against a white or a black page."""

_LINE = "1px solid rgba(128,128,128,.4)"
_SHOWN_SITES = 3
_LONGEST_VALUE = 60


class Markup(str):
    """Text that is HTML already."""


def study_html(study: Study) -> str:
    """The question, the arms with the sites they change, the recipe, the data and the margin."""
    recipe, metric = study.training, study.metric
    parts = len(study.baseline.sites())
    rows: list[list[str]] = [["baseline", f"{study.baseline.cls.__name__} of {parts} parts", ""]]
    for name in study.treatments:
        role = "gets a verdict" if name in study.primary else "is described"
        rows.append([name, _lines(_describe_changes(study.diff(name))), role])
    told = {
        "recipe": f"{recipe.trained_tokens:,} tokens in {recipe.steps:,} steps, windows of {recipe.seq_len}, "
        f"{describe(recipe.optimizer)}, {recipe.precision}",
        "data": describe(study.data),
        "margin": f"±{study.margin:g} {metric.unit} of {metric.key}, {metric.better} is better",
        "pairs": f"{study.min_seeds} to {study.max_seeds}",
        **({"contrasts": ", ".join(study.contrasts)} if study.contrasts else {}),
    }
    return _block(
        _paragraph(study.question, bold=True),
        _table(("arm", "differs from the baseline in", ""), rows),
        _table((), [[name, text] for name, text in told.items()]),
    )


def comparison_html(comparison: Mapping[str, Any]) -> str:
    """A comparison as ``Comparison.to_json`` tells it: every pair, then the mean, the interval and the margin."""
    metric, name = comparison["metric"], comparison["treatment"]
    decimals = _decimals(comparison["sd"])

    def write(value: float | None, status: str = "done", sign: str = "") -> str:
        return "diverged" if status != "done" else "" if value is None else f"{value:{sign}.{decimals}f}"

    columns = ("seeds", "baseline", "baseline_status", "values", "treatment_status", "differences")
    rows = [
        [str(seed), write(before, one), write(after, other), write(difference, sign="+")]
        for seed, before, one, after, other, difference in zip(*(comparison[key] for key in columns), strict=True)
    ]
    rows.append(["mean", "", "", write(comparison["mean"], sign="+")])
    if comparison["interval"]:
        low, high = comparison["interval"]
        rows.append([f"interval ({comparison['coverage']})", "", "", f"{low:+.{decimals}f} to {high:+.{decimals}f}"])
    rows.append(["margin", "", "", f"±{comparison['rule']['margin']:.4g}"])
    title = f"{name}: {metric['key']}, {metric['unit']}; {metric['better']} is better"
    sides = ("weights below 0", "weights above 0") if "contrast" in comparison else ("baseline", name)
    header = ("seed", *sides, "difference")
    return _block(_paragraph(title, bold=True), _table(header, rows, numbers=True))


def verdict_html(verdict: Mapping[str, Any]) -> str:
    """A verdict as ``Verdict.to_json`` tells it: its kind, its sentence, and what stands against it."""
    doubts = (_paragraph(Markup(f"<b>doubt</b> {escape(doubt)}")) for doubt in verdict["doubts"])
    return _block(_sentences(verdict), *doubts)


def _sentences(verdict: Mapping[str, Any]) -> str:
    said = _paragraph(Markup(f"{_kind(verdict['kind'])} {escape(verdict['sentence'])}"))
    return Markup(said + (_paragraph(verdict["wider_sentence"]) if verdict["wider_sentence"] else ""))


def result_html(report: Mapping[str, Any], page: str) -> str:
    """A report: the question, the verdicts, the findings that weaken them, and where the page lies."""
    blocks = [_paragraph(report["question"], bold=True)]
    if not report["complete"]:
        blocks.append(_paragraph("Not finished: more pairs are to come."))
    rows = {**report["treatments"], **report.get("contrasts", {})}
    for name in sorted(rows, key=lambda name: not rows[name]["verdict"]):
        verdict = rows[name]["verdict"]
        blocks.append(_sentences(verdict) if verdict else _paragraph(f"{name}: {rows[name]['description']}"))
    found = [f for severity in ("invalid", "doubt") for f in report["findings"] if f["severity"] == severity]
    if found:
        table = [[f["severity"], f["check"], f["arm"] or "", f["message"]] for f in found]
        blocks.append(_table(("finding", "check", "arm", ""), table))
    failed = [[run["arm"], str(run["seed"]), (run["error"] or "").split("\n")[0]] for run in report["failed_runs"]]
    blocks += [_table(("failed run", "seed", ""), failed)] if failed else []
    return _block(*blocks, _paragraph(f"report: {page}"))


def progress_html(
    messages: Sequence[str], runs: Sequence[Sequence[str]], treatments: Iterable[tuple[str, int, str, str]]
) -> str:
    """A study under way: what is being done, a row per running run, and name, pairs, difference and kind per treatment.

    The cells of a run are its name, step, loss, tokens per second and time left.
    """
    blocks = [_paragraph(text, bold=place == 0) for place, text in enumerate(messages)]
    if runs:
        blocks.append(_table(("run", "step", "loss", "tokens/s", "left"), runs, numbers=True))
    rows = [[name, str(pairs), difference, _kind(kind)] for name, pairs, difference, kind in treatments]
    if rows:
        blocks.append(_table(("treatment", "pairs", "difference and interval", "verdict"), rows))
    return _block(*blocks)


def _describe_changes(changes: Iterable[Change]) -> list[str]:
    """A line per edit: where, at how many sites, from what to what."""
    groups: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        groups.setdefault((_short(change.before), _short(change.after)), []).append(change.path or "model")
    lines = []
    for (before, after), paths in groups.items():
        more = len(paths) - _SHOWN_SITES
        shown = ", ".join(paths[:_SHOWN_SITES]) + (f" and {more} more" if more > 0 else "")
        shown = f"{len(paths)} sites ({shown})" if len(paths) > 1 else shown
        lines.append(f"{shown}: {before} \N{RIGHTWARDS ARROW} {after}")
    return lines or ["nothing"]


def _short(value: Any) -> str:
    text = describe(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _decimals(sd: float | None) -> int:
    """Two significant digits of the sd; four decimals without one."""
    return min(12, max(0, 1 - math.floor(math.log10(float(f"{sd:.2g}"))))) if sd else 4


def _kind(kind: str) -> str:
    """The word of a verdict on its colour; any other word as it is."""
    if kind not in COLOURS:
        return Markup(escape(kind))
    style = f"background:{COLOURS[kind]};color:#ffffff;padding:0 .5em;border-radius:.6em;font-weight:bold"
    return Markup(f'<span style="{style}">{kind}</span>')


def _lines(texts: Iterable[str]) -> str:
    return Markup("<br>".join(map(escape, texts)))


def _text(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)


def _paragraph(text: str, bold: bool = False) -> str:
    return f'<p style="margin:.3em 0">{f"<b>{_text(text)}</b>" if bold else _text(text)}</p>'


def _block(*parts: str) -> str:
    return Markup(f"<div>{''.join(parts)}</div>")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """A table; with ``numbers`` all columns but the first stand to the right."""

    def cell(tag: str, text: str, place: int) -> str:
        side = "right" if numbers and place else "left"
        style = f"text-align:{side};padding:.15em .8em .15em 0;vertical-align:top;border-bottom:{_LINE}"
        return f'<{tag} style="{style}">{_text(text)}</{tag}>'

    lines = [("th", header)] if header else []
    lines += [("td", row) for row in rows]
    body = "".join(f"<tr>{''.join(cell(tag, t, i) for i, t in enumerate(line))}</tr>" for tag, line in lines)
    return f'<table style="border-collapse:collapse;font-size:inherit;margin:.4em 0">{body}</table>'
