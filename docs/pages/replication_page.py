"""docs/replication.md: what five documents claimed, what their code compared, and what paribus says.

The documents' side is the data in ``originals``; every number of paribus's comes from ``results/*/report.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from originals import FLAWS, HARDWARE, ORIGINALS, Original, Replicated

from paribus.design.markup import escape
from paribus.design.study import BASELINE
from paribus.errors import StoreError
from paribus.judgement import Report
from paribus.judgement.summaries import Summary
from paribus.reports.figures import draw_picture
from paribus.reports.formatting import (
    MISSING,
    choose_scale,
    is_known,
    write_count,
    write_digits,
    write_range,
    write_row,
    write_signed,
)
from paribus.reports.metric_names import find_word, name_metric
from paribus.reports.page import MARKS, Page, Reason, Treatment, compose_page, name_severity
from paribus.reports.pictures import Picture, decide_decimals

PAGE = "docs/replication.md"
PAPER = "-paper"
NOT_RUN = "not run yet"
NO_PAPER = "no paper scale"

_COSTS = (
    "val_loss",
    "parameters",
    "active_parameters",
    "norm_parameters",
    "training_flops_per_token",
    "largest_load",
    "training_seconds",
    "tokens_per_second",
    "peak_memory_bytes",
)
_FIGURES = ("loss-tokens", "loss-seconds")

_OPENING = """
    paribus grew from five documents on the architecture of small language models. For each of them: what it claimed,
    what its code really compared, what paribus says, and how to ask again at the size of the original.

    The quick scale is minutes on two CPU cores, with far smaller models than the originals'. It says what holds at that
    size. It neither confirms nor refutes a claim about the originals' size; the paper scale is for that.

    This page is written by `make pages` from [results/](../results) and is not edited by hand.
"""
_OVERLAP = """
    The originals scored windows that overlap their training text (1). The losses of the two sources do not compare; the
    differences between the arms of one source may.
"""
_FLAWS = """
    What was wrong in the five documents, how it is known, and what stands in its way here. The checks are those of
    [audits.md](audits.md), which also says what each of them cannot see.
"""
_OTHERWISE = (
    "The windows that are scored come from documents that are not trained on.",
    "The schedule counts optimizer steps and ends at a tenth of its peak. The originals counted micro-steps and "
    "stepped per update, so theirs ended at nine tenths (9).",
    "Arms share initial weights and data order, and there are several seeds (5) (6).",
    "bf16 autocast stands for fp16 with loss scaling, in `attention`; `norm` and `backbone`, for which no precision is "
    "published, use it too.",
    "Queries, keys and values are three matrices, each orthogonalised by itself; the originals stacked them into one.",
    "AdamW decays embeddings by 0.1, and not norms and biases; the originals' decayed those too.",
    "The corpus is cut to its number of training tokens in a random order of documents, out of the first 10,000.",
    "`mlp` compares ReLU with SwiGLU experts, as the document says. The experts of its code's baseline had SiLU; the "
    "arm `gated experts` of `moe` is the comparison with SiLU.",
    "The arm `DeepSeek-V3` of `moe` has no shared expert and a routed scale of 1, as the treatment's parameter count "
    "asks for, and keeps the baseline's router noise.",
    "The margins are those of the quick scale. They were not measured at paper scale.",
)
_MAKING = """
    `paribus run STUDY` writes `paribus-store/studies/STUDY/report.json`. A copy of that file is kept as
    `results/STUDY/report.json`, that of a run with `--scale SCALE` as `results/STUDY-SCALE/report.json`. `make pages`
    reads these copies and writes this page and its figures again. The fields are described in
    [report_schema.md](report_schema.md), the checks in [audits.md](audits.md).
"""

Results = Mapping[str, Report]


def compose_replication(results: Path) -> dict[str, bytes]:
    """The page and its figures by their paths in the repository, from the reports in the folder ``results``.

    Raises StoreError for a report of another format or of a study that no document of the page asks about.
    """
    reports = read_results(results)
    text = "\n".join(_write_page(reports)).rstrip() + "\n"
    files = {PAGE: re.sub(r"\n{3,}", "\n\n", text).encode()}
    for name, report in reports.items():
        for picture in _choose_pictures(compose_page(report)):
            files[f"docs/{_figure(name, picture)}"] = draw_picture(picture, "svg")
    return files


def read_results(folder: Path) -> dict[str, Report]:
    """Reports by the name of their folder: ``STUDY``, ``STUDY-SCALE`` or ``STUDY-paper``."""
    known = [
        replicated.name + scale
        for _, replicated in _list_studies()
        for scale in (("", PAPER) if replicated.paper_scale else ("",))
    ]
    reports = {}
    for path in sorted(folder.glob("*/report.json")):
        name = path.parent.name
        if name not in known:
            raise StoreError(f"results/{name} is of no study on the page; there is {', '.join(known)}")
        try:
            reports[name] = Report.from_json(json.loads(path.read_text()))
        except StoreError as error:
            raise StoreError(f"results/{name}: {error}") from None
    return reports


def _list_studies() -> Iterator[tuple[Original, Replicated]]:
    for original in ORIGINALS:
        for replicated in original.replicated:
            yield original, replicated


def _write_page(reports: Results) -> Iterator[str]:
    yield from ("# Five published studies, asked again", "")
    yield from _fill(_OPENING)
    yield from _write_overview(reports)
    for place, original in enumerate(ORIGINALS, 1):
        yield from _write_original(place, original, reports)
    yield from _write_flaws()
    yield from ("## What the paper scale does otherwise", "", *(_link(f"- {line}") for line in _OTHERWISE), "")
    yield from ("## How this page is made", "", *_fill(_MAKING))


def _write_overview(reports: Results) -> Iterator[str]:
    rows = []
    for place, original in enumerate(ORIGINALS, 1):
        for replicated in original.replicated:
            link = f"[{place}. {escape(original.title)}](#{_anchor(_heading(place, original))})"
            quick = _write_verdicts(reports.get(replicated.name))
            paper = _write_verdicts(reports.get(replicated.name + PAPER)) if replicated.paper_scale else NO_PAPER
            rows.append((link, f"`{replicated.words}`", escape(replicated.claim), quick, paper))
    yield from ("## At a glance", "")
    yield from _write_table(("document", "study", "its claim", "paribus, quick scale", "paribus, paper scale"), rows)
    yield ""


def _write_verdicts(report: Report | None) -> str:
    if report is None:
        return NOT_RUN
    said = [
        f"{escape(t.name)}: **{t.kind}** ({write_count(report.treatments[t.name].comparison.n_pairs, 'pair')})"
        for t in compose_page(report).primary
    ]
    return "<br>".join(said) + ("" if report.is_complete else "<br>not finished")


def _write_original(place: int, original: Original, reports: Results) -> Iterator[str]:
    yield from (f"## {escape(_heading(place, original))}", "", "### What it claimed", "")
    yield from _fill(original.claimed)
    if original.published:
        yield from (f"Published figures ({HARDWARE}):", "")
        header = ("arm", "validation loss", "accuracy", "perplexity", "time", "peak memory")
        rows = [
            (p.arm, p.val_loss, p.accuracy, p.perplexity, p.time, p.peak_memory or MISSING) for p in original.published
        ]
        yield from (*_write_table(header, rows, numbers_from=1), "")
    else:
        yield from ("No measured losses of it are on record.", "")
    yield from ("### What its code compared", "")
    yield from _fill(original.compared)
    yield from ("### What paribus says at quick scale", "")
    for replicated in original.replicated:
        yield from _write_quick(replicated, reports)
    yield from ("### At paper scale", "")
    for replicated in original.replicated:
        if replicated.paper_scale:
            yield from _write_paper(original, replicated, reports)


def _write_quick(replicated: Replicated, reports: Results) -> Iterator[str]:
    yield from (f"#### `{replicated.words}`", "")
    if replicated.name in reports:
        yield from _write_study(replicated.name, reports[replicated.name])
    else:
        yield from (f"{NOT_RUN.capitalize()}. To run it: `paribus run {replicated.words}`.", "")


def _write_paper(original: Original, replicated: Replicated, reports: Results) -> Iterator[str]:
    study = replicated.study
    yield from (f"`{study}`: {replicated.paper_scale}.", "")
    yield from ("```sh", f"paribus run {study} --scale paper")
    yield from (f"paribus run {study} --scale paper --data PATH    # where the hub cannot be reached", "```", "")
    if study + PAPER not in reports:
        yield from (f"The paper scale of `{study}` has not been run.", "")
        return
    report = reports[study + PAPER]
    if original.published:
        yield from ("Beside the originals' figures:", "", *_write_beside(original, report), "")
        yield from _fill(_OVERLAP)
    yield from _write_study(study + PAPER, report)


def _write_beside(original: Original, report: Report) -> Iterator[str]:
    header = ("measured by", "arm", "validation loss", "accuracy", "perplexity", "training time", "peak memory")
    rows = [
        (f"original, {HARDWARE}", p.arm, p.val_loss, p.accuracy, p.perplexity, p.time, p.peak_memory or MISSING)
        for p in original.published
    ]
    arms = _list_arms(report, compose_page(report).treatments)
    keys = ("val_loss", "val_accuracy", "val_perplexity", "training_seconds", "peak_memory_bytes")
    columns = [_write_column(report, arms, key, has_unit=True)[1] for key in keys]
    for arm, *cells in zip(arms, *columns, strict=True):
        n = len(report.arms[arm].seeds)
        rows.append((f"paribus, {n} seeds, {escape(_name_device(report, arm))}", escape(arm), *cells))
    yield from _write_table(header, rows, numbers_from=2)


def _write_study(name: str, report: Report) -> Iterator[str]:
    page = compose_page(report)
    yield from (f"*{escape(page.question)}*", "")
    yield from (f"{escape(page.summary)} · [report.json](../results/{name}/report.json)", "")
    for line in page.standing:
        yield from (f"> **{escape(line)}**", "")
    for treatment in page.primary:
        said = " ".join(filter(None, (treatment.lead, treatment.rest, treatment.wider)))
        yield from (f"**[{MARKS[treatment.kind]}] {treatment.kind}.** {escape(said)}", "")
    yield from _write_comparisons(page.primary, report)
    if page.described:
        yield from ("Described by intervals, without verdicts:", "")
        yield from _write_comparisons(page.described, report)
        yield from (_write_reason(reason) for reason in page.described_doubts)
        yield from ("",) if page.described_doubts else ()
    yield from (escape(name_severity(page.doubts)), "")
    yield from (_write_reason(reason) for reason in page.doubts)
    yield from ("",) if page.doubts else ()
    yield from (escape(" ".join(page.limits)), "")
    yield from _write_costs(report, page.treatments)
    yield from _write_edits(page.treatments)
    yield from _write_pictures(name, _choose_pictures(page))


def _write_comparisons(treatments: Sequence[Treatment], report: Report) -> Iterator[str]:
    """One row per treatment, and below what the numbers are."""
    rows, coverages = [], []
    for treatment in treatments:
        comparison = report.treatments[treatment.name].comparison
        decimals = decide_decimals(comparison)
        if comparison.interval:
            coverages.append(comparison.coverage)
        rows.append(
            (
                escape(treatment.name),
                treatment.kind or "none",
                write_signed(comparison.mean, decimals),
                write_range(comparison.interval, decimals),
                write_digits(comparison.sd),
                str(comparison.n_pairs),
            )
        )
    header = ("treatment - baseline", "verdict", "mean difference", "interval", "sd of the pairs", "pairs")
    yield from (*_write_table(header, rows, numbers_from=2), "")
    metric, margin = report.study.metric, report.study.margin
    said = f"{name_metric(metric)}, {metric.better} is better; margin ±{margin:.4g}"
    covers = "; ".join(dict.fromkeys(coverages))
    yield from (f"In {escape(said)}" + (f"; interval: {escape(covers)}." if covers else "."), "")


def _write_reason(reason: Reason) -> str:
    remedy = f" Remedy: {escape(reason.remedy)}" if reason.remedy else ""
    return f"- **{reason.severity}**: {escape(reason.message)}{remedy} ({escape(reason.place)})"


def _write_costs(report: Report, treatments: Sequence[Treatment]) -> Iterator[str]:
    arms = [arm for arm in _list_arms(report, treatments) if report.arms[arm].metrics]
    if not arms:
        yield from ("No run has finished yet.", "")
        return
    keys = [key for key in _COSTS if _is_worth_a_column(report, arms, key)]
    columns = dict(_write_column(report, arms, key) for key in keys)
    rows = [(escape(arm), *cells) for arm, *cells in zip(arms, *columns.values(), strict=True)]
    yield from ("Loss and cost of a run, mean ± sd over seeds:", "")
    yield from (*_write_table(("arm", *columns), rows, numbers_from=1), "")
    if "largest_load" in keys:
        yield from ("The largest share of an expert, times the number of experts, is 1 where the load is even.", "")
    device = ", ".join(dict.fromkeys(_name_device(report, arm) for arm in arms))
    how = ", runs side by side with one thread each" if report.device == "cpu" else ""
    yield from (f"Time and memory are as measured (device: {escape(device)}{how}). No verdict is made of them.", "")


def _list_arms(report: Report, treatments: Sequence[Treatment]) -> list[str]:
    return [arm for arm in (BASELINE, *(t.name for t in treatments)) if arm in report.arms]


def _name_device(report: Report, arm: str) -> str:
    """The processor's own name where the report has it, else its kind."""
    return report.arms[arm].device_name or report.device


def _is_worth_a_column(report: Report, arms: Sequence[str], key: str) -> bool:
    """Whether an arm has it, and it says something that its neighbour does not."""
    means = [_summary(report, arm, key).mean for arm in arms]
    if key == "active_parameters" and means == [_summary(report, arm, "parameters").mean for arm in arms]:
        return False
    if key == "norm_parameters" and len(set(means)) == 1:
        return False
    return any(is_known(mean) for mean in means)


def _write_column(report: Report, arms: Sequence[str], key: str, has_unit: bool = False) -> tuple[str, list[str]]:
    """A metric's label and its cells; ``has_unit``: the scaled unit stands in the cells."""
    word = find_word(key)
    summaries = [_summary(report, arm, key) for arm in arms]
    known = [abs(s.mean) for s in summaries if is_known(s.mean)]
    is_scaled = word.family not in ("", "percent")
    divisor, unit = choose_scale(word.family, max(known, default=None)) if is_scaled else (1.0, "")
    if word.family == "parameters":  # to the digit
        unit, cells = "", [f"{s.mean:,.0f}" if is_known(s.mean) else MISSING for s in summaries]
    else:
        cells = write_row(summaries, divisor)
    if has_unit and unit:
        cells = [cell if cell == MISSING else f"{cell} {unit}" for cell in cells]
    return escape(word.label(unit)), [escape(cell) for cell in cells]


def _summary(report: Report, arm: str, key: str) -> Summary:
    return {**report.arms[arm].measured, **report.arms[arm].metrics}.get(key, Summary())


def _write_edits(treatments: Sequence[Treatment]) -> Iterator[str]:
    """Where each arm differs from the baseline, folded: the cells are long."""
    rows = [[escape(cell) for cell in (t.name, *row)] for t in treatments for row in t.edits.rows]
    yield from ("<details>", "<summary>What differs between the arms</summary>", "")
    yield from (*_write_table(("arm", "where", "sites", BASELINE, "here"), rows), "", "</details>", "")


def _choose_pictures(page: Page) -> list[Picture]:
    """The paired differences of the primary treatments, and the loss against tokens and against time."""
    pictures: list[Picture] = [t.picture for t in page.primary if t.picture]
    return pictures + [picture for picture in page.curves if picture.name in _FIGURES]


def _write_pictures(name: str, pictures: Sequence[Picture]) -> Iterator[str]:
    if not pictures:
        return
    for start in range(0, len(pictures), 2):
        pair = [f"![{escape(p.alt)}]({_figure(name, p)})" for p in pictures[start : start + 2]]
        if start == 0:
            yield from ("| | |", "| --- | --- |")
        yield f"| {' | '.join(pair + [''] * (2 - len(pair)))} |"
    yield ""
    for picture in pictures:
        yield f"- {escape(picture.title)}: {escape(picture.caption)}"
    yield ""


def _figure(name: str, picture: Picture) -> str:
    """Where a figure lies, from docs/."""
    return f"figures/{name}/{picture.name}.svg"


def _write_flaws() -> Iterator[str]:
    yield from ("## The flaws by number", "")
    yield from _fill(_FLAWS)
    rows = [
        (str(number), escape(flaw.what), escape(flaw.evidence), ", ".join(flaw.checks) or escape(flaw.otherwise))
        for number, flaw in enumerate(FLAWS, 1)
    ]
    yield from _write_table(("#", "flaw", "evidence", "in paribus"), rows)
    yield ""


def _write_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None
) -> Iterator[str]:
    """Cells are Markdown already; columns from ``numbers_from`` on hold numbers."""
    sides = ["---:" if numbers_from is not None and i >= numbers_from else "---" for i in range(len(header))]
    for row in (header, sides, *rows):
        yield f"| {' | '.join(row)} |"


def _fill(text: str) -> Iterator[str]:
    """The paragraphs of ``text``, each on one line; the numbers of flaws become links."""
    for paragraph in text.strip().split("\n\n"):
        line = " ".join(paragraph.split())
        yield from (_link(line), "")


def _link(text: str) -> str:
    """Numbers of flaws, such as (7), made links."""
    return re.sub(r"\((\d+)\)", r"([\1](#the-flaws-by-number))", text)


def _heading(place: int, original: Original) -> str:
    return f"{place}. {original.title}"


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
