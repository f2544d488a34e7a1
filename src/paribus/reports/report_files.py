"""The files of a report: report.json, report.md with its figures, report.html."""

from __future__ import annotations

from paribus.design.wording import suggest
from paribus.errors import StudyError
from paribus.judgement import Report
from paribus.reports.page import compose_page
from paribus.store.files import pack_json

FORMS = ("md", "html", "json")


def render_report(report: Report, form: str) -> dict[str, bytes]:
    """A report as ``report.<form>`` and what belongs to it: the content of each file, by name.

    "md" has ``figures/*.png`` and ``figures/*.svg``; "html" is one file,
    with its figures in it. Equal data gives equal bytes, whatever the order of its keys.

    Raises StudyError for an unknown form.
    """
    if form not in FORMS:
        raise StudyError(f"no report form {form!r}; {suggest(form, FORMS)}")
    if form == "json":
        return {"report.json": pack_json(report.to_json())}
    page = compose_page(report)
    if form == "md":
        from paribus.reports.figures import draw_picture
        from paribus.reports.markdown import write_markdown

        figures = {
            f"figures/{picture.name}.{kind}": draw_picture(picture, kind)
            for picture in page.pictures
            for kind in ("svg", "png")
        }
        return {**figures, "report.md": write_markdown(page).encode()}
    from paribus.reports.html_page import write_html

    return {"report.html": write_html(page).encode()}
