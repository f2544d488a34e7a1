"""What a person sees at the terminal: progress while a study runs, and the answers as text."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from paribus.campaign import Observe
from paribus.contrasts import Contrast
from paribus.reports.differences import list_edits
from paribus.reports.vocabulary import SHARED
from paribus.study import BASELINE

_WIDTH = 79
VERDICT_STYLE = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow", "invalid": "bold red"}


@contextmanager
def progress() -> Iterator[Observe]:
    """Yield a function that takes the events of ``lab.run`` and shows them on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainLines(console).observe
        return
    table = LiveTable()
    with Live(console=console, get_renderable=table.render, refresh_per_second=4, transient=True):
        yield table.observe


class PlainLines:
    """One line per thing that happened, for logs and pipes."""

    def __init__(self, console: Console):
        self.console = console
        self.said: dict[str, str] = {}

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self._print(event["text"])
        elif kind in ("started", "finished", "stopped"):
            status = event.get("status", "")
            self._print(f"{event['arm']} seed {event['seed']}: {kind if status in ('', 'done') else status}")
        elif kind == "timing":
            self._print(_timing_text(event))
        elif kind == "judged":
            for row in event["rows"]:
                line = f"{row['treatment']}: {_progress_text(row)}"
                if self.said.get(row["treatment"]) != line:
                    self.said[row["treatment"]] = line
                    self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveTable:
    """A line per running run and a line per treatment."""

    def __init__(self):
        self.running: dict[str, dict[str, Any]] = {}
        self.rows: list[Mapping[str, Any]] = []
        self.messages: list[str] = []  # the question, then what is being done

    def observe(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "message":
            self.messages.append(event["text"])
        elif kind == "started":
            self.running[event["digest"]] = {**event, "began": time.monotonic(), "first": None}
        elif kind == "progress":
            run = self.running[event["digest"]]
            run["line"] = event["line"]
            run["first"] = run["first"] or (event["line"]["step"], time.monotonic())
        elif kind in ("finished", "stopped"):
            self.running.pop(event["digest"], None)
        elif kind == "judged":
            self.rows = event["rows"]
        elif kind == "timing":
            self.messages.append(_timing_text(event))

    def render(self) -> Group:
        runs = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        runs.add_column("run", no_wrap=True, overflow="ellipsis")
        for name in ("step", "loss", "tokens/s", "left"):
            runs.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
        for run in list(self.running.values()):  # the other thread adds and removes
            runs.add_row(*map(Text, run_cells(run)))
        verdicts = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        # The name gives way: a number cut short says something else. 80 columns hold the rest.
        verdicts.add_column("treatment", no_wrap=True, overflow="ellipsis", max_width=27)
        verdicts.add_column("pairs", justify="right")
        verdicts.add_column("difference and interval", no_wrap=True)
        verdicts.add_column("verdict", no_wrap=True)
        for row in self.rows:
            kind = row["verdict"] or ("" if row["primary"] else "descriptive")
            style = VERDICT_STYLE.get(kind, "dim")
            verdicts.add_row(
                Text(row["treatment"]), str(row["pairs"]), Text(difference_text(row)), Text(kind or "...", style=style)
            )
        shown = list(dict.fromkeys([*self.messages[:1], *self.messages[-1:]]))
        titles = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in shown]
        return Group(*titles, runs, Text(""), verdicts)


def run_cells(run: Mapping[str, Any]) -> list[str]:
    """A running run: its name, step, loss, tokens per second and time left."""
    name = f"{run['arm']} / seed {run['seed']}"
    line = run.get("line")
    if line is None:
        return [name, f"0/{run['steps']}", "", "", ""]
    left = ""
    first_step, began = run["first"]
    if line["step"] > first_step:
        seconds = (time.monotonic() - began) / (line["step"] - first_step) * (run["steps"] - line["step"])
        left = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    rate = line["measured"]["tokens_per_second"]
    return [name, f"{line['step']}/{run['steps']}", f"{line['loss']:.3f}", f"{rate:,.0f}", left]


def _timing_text(event: Mapping[str, Any]) -> str:
    rejected = sum(event["rejected"].values())
    told = "; ".join(f"{name}: {kind}" for name, kind in event["treatments"].items())
    return f"timing round {event['rounds']} ({rejected} measured again). {told}"


def _progress_text(row: Mapping[str, Any]) -> str:
    thing = "seed" if row.get("contrast") else "pair"
    pairs = f"1 {thing}" if row["pairs"] == 1 else f"{row['pairs']} {thing}s"
    text = ", ".join(filter(None, [pairs, difference_text(row)]))
    return f"{text} -> {row['verdict']}" if row["verdict"] else text


def difference_text(row: Mapping[str, Any]) -> str:
    """The mean difference of a treatment so far and its interval; "" before there is one."""
    if row["mean"] is None:
        return ""
    if row["interval"] is None:
        return f"{row['mean']:+.4f}"
    low, high = row["interval"]
    return f"{row['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"


def wrap_sentences(text: str, width: int) -> str:
    """``text`` with its long lines folded between words; a row of a table, which has runs of spaces, stays as it is."""
    lines = []
    for line in text.splitlines():
        is_row = "  " in line.strip()
        folded = textwrap.wrap(line, width - 1, break_long_words=False, break_on_hyphens=False)
        lines += [line] if is_row or len(line) < width else folded
    return "\n".join(lines)


def result_text(result: Any) -> str:
    """A ``lab.Result``: the question, a sentence per contrast and treatment, findings, and where the report is."""
    report = result.report
    lines = [report["question"], "", *_contrast_sentences(report)]
    for name, row in sorted(report["treatments"].items(), key=lambda item: not item[1]["primary"]):
        lines.append(row["verdict"]["sentence"] if row["verdict"] else f"{name} (descriptive): {row['description']}")
    lines += ["", *_findings_lines(report["findings"], ("invalid", "doubt"))]
    if timing := report.get("timing"):
        rows = timing["measured"]["treatments"].items()
        lines += [f"time per step of {name}: {row['kind']}{_ratio_text(row)}" for name, row in rows]
    severities = [finding["severity"] for finding in report["findings"]]
    lines.append("findings: " + ", ".join(f"{severities.count(s)} {s}" for s in ("invalid", "doubt", "note")))
    return "\n".join([*lines, f"report: {result.page}"])


def _contrast_sentences(report: Mapping[str, Any]) -> list[str]:
    """Main effects first; the file holds them by name."""
    rows = report.get("contrasts", {}).values()
    ordered = sorted(rows, key=lambda row: len(Contrast.from_json(row["comparison"]["contrast"]).factors))
    return [row["verdict"]["sentence"] for row in ordered]


def _ratio_text(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None or row["interval"] is None:
        return ""
    low, high = row["interval"]
    return f", {row['ratio']:.3f} of the baseline's ({low:.3f} to {high:.3f})"


def null_text(calibrated: Any) -> str:
    """A ``Calibration``: the noise of the baseline, what this budget can settle in it, and counted false verdicts."""
    null, unit = calibrated.data["null"], calibrated.data["metric"]["unit"]
    lines = [
        f"the baseline over {null['n_seeds']} seeds: sd {_with_interval(null, 'seed_sd')} {unit}",
        f"with weights nudged by rounding, paired: sd {_with_interval(null, 'floor_sd')} {unit}",
        "",
        f"what up to {null['n_max']} pairs settle at the margin {null['margin']:.3g} {unit}, by simulation:",
    ]
    for name, sd in null["sds"].items():
        lines.append(f"  paired sd {sd:.2g}: {SHARED[name]}")
        table = [[f"    true gain {row['gain']:.3g}", *_likeliest(row)] for row in null["powers"][name]]
        lines += [*_columns(table), f"    smallest margin that is settled: {null['smallest_margins'][name]:.2g}"]
    lines += ["", *(line for sentence in null["sentences"] for line in textwrap.wrap(sentence, _WIDTH))]
    for name, noise in calibrated.data.get("contrasts", {}).items():
        lines += textwrap.wrap(
            f"All this is of a pair. Where arms share no noise, the contrast {name!r} has {noise:.2g} times its sd.",
            _WIDTH,
        )
    if calibrated.data["tunes"]:
        lines += textwrap.wrap(
            "The study tunes: this is the noise at the recipe of its file, not of what is chosen.", _WIDTH
        )
    if small := calibrated.data.get("small_nulls"):
        lines += [
            "",
            f"small A/A comparisons, {small['pairs_each']} pairs of {small['tokens']:,} tokens each, at margin 0:",
        ]
        lines += [_count_text(words, small[key]) for key, words in _NULLS.items()]
    return "\n".join([*lines, f"written to {calibrated.file}"])


_NULLS = {"nudged_copies": "with its nudged copy", "other_seeds": "with itself on other seeds"}


def _count_text(words: str, counted: Mapping[str, Any]) -> str:
    n, allowed = counted["nulls"], counted["allowed"]
    return f"  {words}: {counted['false_at_zero']} of {n} called better or worse (by chance up to {allowed})"


def _with_interval(null: Mapping[str, Any], key: str) -> str:
    low, high = null[f"{key}_interval"]
    return f"{null[key]:.2g} (90 %: {low:.2g} to {high:.2g})"


def _likeliest(row: Mapping[str, float]) -> list[str]:
    kind = max(("better", "equivalent", "undecided"), key=row.__getitem__)
    return [kind, f"{row[kind]:.0%}", f"after {row['pairs']:.1f} pairs"]


def check_text(checked: Any) -> str:
    """A ``lab.Checked``: the arms side by side, what differs, what the plan costs, and the findings."""
    study, arms = checked.study, [facts.to_json() for facts in checked.arms.values()]
    table = [["arm", "parameters", "active", "of norms", "FLOPs/token", "training", "sites changed"]]
    for arm in arms:
        sites = f"{arm['sites_changed']} of {arm['sites_alike']}" if arm["sites_alike"] else "-"
        counts = [f"{arm[key]:,.0f}" for key in ("parameters", "active_parameters", "norm_parameters")]
        flops = [f"{arm[key]:,.0f}" for key in ("forward_flops_per_token", "training_flops_per_token")]
        table.append([arm["arm"], *counts, *flops, sites])
    lines = [study.question, "", *_columns(table)]
    described = study.to_json()["arms"]
    for name in study.treatments:
        for edit in list_edits(described[BASELINE], described[name]):
            lines.append(f"  {name}: {', '.join(edit.places)}: {edit.before} -> {edit.after}")
    data, plan = "not read", checked.plan
    if checked.data:
        sides = checked.data["sides"]
        data = f"{checked.data['title']}, {sides['train']['tokens']:,} training tokens, "
        data += f"{sides['validation']['documents']:,} held-out documents"
    lines += [
        "",
        f"data: {data}",
        f"plan: {study.min_seeds} to {study.max_seeds} pairs; at most {plan['runs']} runs, {plan['tokens']:,} tokens, "
        f"{plan['training_flops']:.2g} FLOPs",
        *_beside_lines(plan),
        f"margin: {study.margin} {study.metric.unit}",
        *([f"contrasts that get a verdict: {', '.join(study.contrasts)}"] if study.contrasts else []),
        "",
        *_findings_lines([finding.to_json() for finding in checked.findings], ("invalid", "doubt", "note")),
    ]
    return "\n".join(lines if checked.findings else [*lines, "no findings"])


def _beside_lines(plan: Mapping[str, float]) -> list[str]:
    said = {
        "tuning_runs": "to tune the arms, more where the grid grows",
        "rate_probe_runs": "at other learning rates, where a verdict could turn",
        "width_runs": "of the baseline at other widths",
    }
    parts = [f"{plan[key]} {words}" for key, words in said.items() if plan[key]]
    return [f"beside the pairs: {'; '.join(parts)}"] if parts else []


def status_text(state: Mapping[str, Any]) -> str:
    """A ``lab.status``: per study the runs of every arm and the treatments so far."""
    if not state["studies"]:
        beside = f"; runs of a tuning or of --null that are finished: {state['finished_runs']}"
        return f"{state['store']} holds no registered study yet" + (beside if state["finished_runs"] else "")
    lines = []
    for name, study in state["studies"].items():
        lines += [f"{name}: {study['question']}"]
        table = [["  arm", "done", "diverged", "failed", "unfinished"]]
        for arm, runs in study["runs"].items():
            table.append([f"  {arm}", *(str(len(runs[kind])) for kind in table[0][1:])])
        lines += _columns(table)
        lines += [f"  {row['treatment']}: {_progress_text(row)}" for row in study["treatments"]] + [""]
    return "\n".join(lines).rstrip()


def _findings_lines(findings: Sequence[Mapping[str, Any]], severities: Sequence[str]) -> list[str]:
    lines = []
    for severity in severities:
        for finding in (f for f in findings if f["severity"] == severity):
            place = ", ".join(part for part in (finding["arm"], finding["site"]) if part)
            where = f" [{place}]" if place else ""
            remedy = f" Remedy: {finding['remedy']}." if finding["remedy"] and severity != "note" else ""
            lines.append(f"{severity}: {finding['check']}{where}: {finding['message']}.{remedy}")
    return lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned first column, the others right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
