"""A page as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from paribus.reports.figures import ARMS, inline_svg
from paribus.reports.page import MARKS, Page, name_severity
from paribus.reports.pictures import Picture


def write_html(page: Page) -> str:
    """The whole page with its style and its figures in it."""
    return _template().render(page=page, marks=MARKS, doubts_said=name_severity(page.doubts), arms=ARMS, draw=_draw)


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_keep_together
    )
    return environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def _keep_together(value: Any) -> Any:
    """No line break between a number and its per cent sign."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", value) if is_text else value


def _draw(picture: Picture) -> Markup:
    return Markup(inline_svg(picture))
