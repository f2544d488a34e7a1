"""The files of a report: report.json, report.md with its figures, report.html."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paribus.design.wording import suggest
from paribus.errors import StoreError, StudyError
from paribus.reports.page import compose_page
from paribus.store.files import FORMAT, write_bytes, write_json, write_text

FORMS = ("md", "html", "json")


def write_report(judged: Mapping[str, Any], folder: Path, form: str) -> Path:
    """Write a judged study as ``report.<form>`` into ``folder`` and return the path; each file whole or not at all.

    ``judged`` is what ``lab.judge`` returns. "md" also writes ``figures/*.png`` and ``figures/*.svg``; "html" is one
    file with its figures in it. Equal data gives equal bytes, whatever the order of its keys.

    Raises StudyError for an unknown form, StoreError for data of another format or a place that cannot be written.
    """
    if form not in FORMS:
        raise StudyError(f"no report form {form!r}; {suggest(form, FORMS)}")
    if judged.get("format") != FORMAT:
        raise StoreError(f"this paribus renders judged data of format {FORMAT}, got format {judged.get('format')!r}")
    folder = Path(folder)
    path = folder / f"report.{form}"
    if form == "json":
        write_json(path, judged)
        return path
    page = compose_page(judged)
    if form == "md":
        from paribus.reports.figures import draw_picture
        from paribus.reports.markdown import write_markdown

        for picture in page.pictures:
            for kind in ("svg", "png"):
                write_bytes(folder / "figures" / f"{picture.name}.{kind}", draw_picture(picture, kind))
        write_text(path, write_markdown(page))
    else:
        from paribus.reports.html_page import write_html

        write_text(path, write_html(page))
    return path
