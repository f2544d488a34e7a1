"""A page as Markdown, as GitHub shows it; figures are files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paribus.design.markup import escape, write_table
from paribus.reports.contrasts_section import Claim, Contrasts
from paribus.reports.page import MARKS, Page, Reason, Table, Treatment, name_severity
from paribus.reports.pictures import Picture


def write_markdown(page: Page) -> str:
    """The whole page; its figures are expected at ``figures/<name>.png``."""
    return "\n".join(_write_lines(page)).rstrip() + "\n"


def _write_lines(page: Page) -> Iterator[str]:
    yield from (f"# {escape(page.question)}", "", escape(page.summary), "")
    for line in page.standing:
        yield from (f"> **{escape(line)}**", "")
    claims: list[Claim | Treatment] = [*(page.contrasts.claims if page.contrasts else ()), *page.primary]
    for claim in claims:
        assert claim.kind  # a claim is a verdict
        yield from (f"**[{MARKS[claim.kind]}] {claim.kind}** {_write_sentence(claim)}", "")
    yield from (f"**Doubts.** {escape(name_severity(page.doubts))}", "")
    yield from _write_reasons(page.doubts)
    if page.contrasts:
        yield from _write_contrasts(page.contrasts)
    for treatment in page.primary:
        yield from _write_treatment(treatment)
    yield from ("## What the verdict does not say", "", *(f"- {escape(line)}" for line in page.limits), "")
    if page.notes:
        yield from ("## Notes of the audits", "")
        yield from _write_reasons(page.notes)
    if page.described:
        yield from ("## Described without a verdict", "")
        yield from _write_reasons(page.described_doubts)
        for treatment in page.described:
            yield from (_write_sentence(treatment), "")
            yield from _write_treatment(treatment)
    yield from ("## How the verdict is reached", "")
    for paragraph in page.method:
        yield from (escape(paragraph), "")
    yield from ("## Loss and cost", "")
    yield from _write_pictures(page.curves + page.costs)
    if page.times:
        yield from ("## Times", "", *(f"- {escape(line)}" for line in page.times.sentences), "")
        yield from (escape(page.times.how), "", *_write_table(page.times.table), "")
    for section in page.sections:
        yield from (f"## {escape(section.title)}", "")
        for sentence in section.sentences:
            yield from (escape(sentence), "")
        for picture in section.pictures:
            yield from (_write_picture(picture), "", f"*{escape(picture.caption)}*", "")
        for table in section.tables:
            yield from (f"**{escape(table.caption)}**", "", *_write_table(table), "")
    yield from ("## All metrics", "")
    yield from (escape(page.clock_note) if page.metrics else "No run has finished yet.", "")
    for table in page.metrics:
        yield from (f"**{escape(table.caption)}**", "", *_write_table(table), "")
    yield from ("## What was trained", "", *_write_table(page.trained), "")
    yield from ("## What differs between the arms", "")
    for treatment in page.treatments:
        yield from (escape(f"{treatment.edits.caption}."), "")
        if treatment.edits.rows:
            yield from (*_write_table(treatment.edits), "")
    if page.contrasts:
        yield from ("## Every contrast", "")
        for table in (page.contrasts.values, page.contrasts.weights):
            yield from (escape(f"{table.caption}."), "", *_write_table(table), "")
    yield from ("## Every pair", "")
    for treatment in page.treatments:
        yield from (escape(f"{treatment.pairs.caption}."), "")
        rows = _write_table(treatment.pairs) if treatment.pairs.rows else ("No pair is finished yet.",)
        yield from (*rows, "")
    if page.failures.rows:
        yield from (escape(f"{page.failures.caption}."), "", *_write_table(page.failures), "")
    yield from ("## Where it comes from", "", *_write_table(page.provenance), "")
    yield from ("To reproduce:", "")
    yield from (f"- `{command.replace('`', '')}`: {escape(what)}" for command, what in page.reproduce)


def _write_sentence(claim: Treatment | Claim) -> str:
    return f"**{escape(claim.lead)}** {escape(claim.rest)}".strip()


def _write_contrasts(contrasts: Contrasts) -> Iterator[str]:
    yield from ("## Effects", "")
    if contrasts.picture:
        yield from (_write_picture(contrasts.picture), "", f"*{escape(contrasts.picture.caption)}*", "")
    else:
        yield from ("No seed is finished yet: there is nothing to draw.", "")
    yield from (escape(f"{contrasts.numbers.caption}."), "", *_write_table(contrasts.numbers), "")
    for claim in contrasts.claims:
        for line in filter(None, (claim.wider, *claim.notes)):
            yield f"- {escape(claim.name)}: {escape(line)}"
    yield ""


def _write_treatment(treatment: Treatment) -> Iterator[str]:
    yield from (f"### {escape(treatment.name)}", "")
    if treatment.picture:
        yield from (_write_picture(treatment.picture), "", f"*{escape(treatment.picture.caption)}*", "")
    else:
        yield from ("No pair has a difference: there is nothing to draw.", "")
    yield from (*_write_table(treatment.numbers), "")
    for line in filter(None, (treatment.wider, *treatment.notes)):
        yield f"- {escape(line)}"
    yield ""


def _write_reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    for reason in reasons:
        remedy = f" Remedy: {escape(reason.remedy)}" if reason.remedy else ""
        yield f"- **{reason.severity}**: {escape(reason.message)}{remedy} ({escape(reason.place)})"
    if reasons:
        yield ""


def _write_pictures(pictures: Sequence[Picture]) -> Iterator[str]:
    if not pictures:
        yield from ("No run has finished yet.", "")
        return
    for start in range(0, len(pictures), 2):
        pair = pictures[start : start + 2]
        if start == 0:
            yield from ("| | |", "| --- | --- |")
        yield f"| {' | '.join([_write_picture(p) for p in pair] + [''] * (2 - len(pair)))} |"
    yield ""
    for picture in pictures:
        yield f"- {escape(picture.title)}: {escape(picture.caption)}"
    yield ""


def _write_picture(picture: Picture) -> str:
    return f"![{escape(picture.alt)}](figures/{picture.name}.png)"


def _write_table(table: Table) -> Iterator[str]:
    yield write_table(table.header, table.rows, numbers=not table.is_text)
