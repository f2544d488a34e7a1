"""Pictures drawn by matplotlib: the one file that imports it, and only when a picture is drawn.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; arms also differ in line and marker. Equal
pictures give equal bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from paribus.reports.pictures import Differences, Dots, Effects, Lines, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, MUTED, GRID, BAND = "#ffffff", "#1b1f24", "#5c6670", "#d9dde2", "#dce9f5"
ARMS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
    (0, (2, 2)),
)
_MARKERS = "osD^vPX"
_WIDTH = 4.9  # inches: readable at the width of a telephone and of half a page
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "axes.formatter.useoffset": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
}


@lru_cache(maxsize=64)
def draw_picture(picture: Picture, kind: str) -> bytes:
    """``picture`` as a file of ``kind`` "svg" or "png" (180 dots per inch)."""
    with _styled(picture):
        figure = _draw(picture)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=180, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return file.getvalue()


def make_figure(picture: Picture) -> Figure:
    """``picture`` as a figure of matplotlib's that belongs to the caller: to be shown, changed or saved."""
    with _styled(picture):
        figure = _draw(picture)
        figure.draw_without_rendering()  # ticks take their style when they are first drawn
    return figure


def inline_svg(picture: Picture) -> str:
    """``picture`` as an SVG element for a page: named for screen readers, coloured by the page's CSS variables."""
    svg = draw_picture(picture, "svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{picture.name}-", svg)
    colours = {PAPER: "paper", INK: "ink", MUTED: "muted", GRID: "grid", BAND: "band"}
    colours |= {colour: f"arm{place}" for place, colour in enumerate(ARMS)}
    for colour, name in colours.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    size = re.search(r'width="([\d.]+)pt"', svg)
    assert size  # matplotlib writes it
    described = f'<svg role="img" aria-label="{_escape(picture.alt)}" style="max-width:{float(size[1]) * 1.5:.0f}px"'
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg", described, 1).strip()


@contextmanager
def _styled(picture: Picture) -> Iterator[None]:
    """matplotlib's settings as these pictures need them, and the user's own again afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": picture.name})
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a name in another script
        yield


def _draw(picture: Picture) -> Figure:
    from matplotlib.figure import Figure

    height = 1.6 + 0.235 * (len(picture.rows) + 3) if isinstance(picture, Differences | Effects) else 3.4
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    if isinstance(picture, Differences):
        _draw_differences(axes, picture)
    elif isinstance(picture, Effects):
        _draw_effects(axes, picture)
    elif isinstance(picture, Lines):
        _draw_lines(axes, picture)
    elif isinstance(picture, Dots):
        _draw_dots(axes, picture)
    return figure


def _draw_differences(axes: Axes, picture: Differences) -> None:
    n = len(picture.rows)
    rows = [(label, text) for label, _, text in picture.rows]
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for row, (_, difference, _) in enumerate(picture.rows):
        if difference is not None:
            axes.plot([difference], [row], "o", color=ARMS[1], markersize=6, zorder=3)
    if picture.mean:
        value, label, text = picture.mean
        axes.plot([value], [len(rows)], "D", color=INK, markersize=7, zorder=4)
        rows.append((label, text))
    for place, (label, left, right) in enumerate(picture.bars):
        row, main = n + place, place == 0
        axes.plot(
            [left, right], [row, row], "|-", color=INK if main else MUTED, linewidth=2.2 if main else 1.3,
            markersize=9 if main else 6, markeredgewidth=1.6 if main else 1.2, zorder=2,
        )  # fmt: skip
        if not main:
            rows.append((label, ""))
    if picture.margin > 0:
        axes.axvspan(-picture.margin, picture.margin, color=BAND, linewidth=0, zorder=0)
        ends = (-picture.margin, picture.margin)
        axes.plot(ends, [len(rows)] * 2, linestyle=(0, (2, 1.5)), color=MUTED, linewidth=1.3, zorder=2)
        rows.append(("margin", picture.margin_text))
    if len(rows) > n:
        axes.axhline(n - 0.5, color=GRID, linewidth=0.8, zorder=0)
    _frame_rows(axes, picture, rows)


def _draw_effects(axes: Axes, picture: Effects) -> None:
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for row, (_, mean, low, high, _) in enumerate(picture.rows):
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], "|-", color=INK, linewidth=2.2, markersize=9, zorder=2)
        axes.plot([mean], [row], "D", color=ARMS[1], markersize=6, zorder=3)
    if picture.margin > 0:
        axes.axvspan(-picture.margin, picture.margin, color=BAND, linewidth=0, zorder=0)
    _frame_rows(axes, picture, [(_escape_label(label), text) for label, _, _, _, text in picture.rows])


def _frame_rows(axes: Axes, picture: Differences | Effects, rows: list[tuple[str, str]]) -> None:
    """Axes of rows below each other: a label on the left of each, a number on its right."""
    places = range(len(rows))
    axes.set(xlim=_limits(picture), ylim=(len(rows) - 0.4, -0.6), yticks=places, yticklabels=[r[0] for r in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)
    words, _, direction = picture.axis.rpartition(" (")
    axes.set_xlabel(picture.axis if len(picture.axis) <= 62 else f"{_wrap(words, 62)}\n({direction}")
    axes.set_title(_wrap(picture.title, 46), pad=18)
    sides = (
        (0, "left", f"\N{LEFTWARDS ARROW} {picture.lower}"),
        (1, "right", f"{picture.higher} \N{RIGHTWARDS ARROW}"),
    )
    for x, side, text in sides:
        axes.annotate(
            text, (x, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points", ha=side, color=MUTED
        )
    numbers = axes.twinx()
    numbers.set(ylim=axes.get_ylim(), yticks=places, yticklabels=[r[1] for r in rows])
    numbers.tick_params(axis="y", length=0, labelcolor=INK)
    for side in ("left", "right", "bottom"):
        numbers.spines[side].set_visible(False)


def _limits(picture: Differences | Effects) -> tuple[float, float]:
    """Room for every dot, bar and both edges of the margin, and for zero."""
    shown = [0.0, -picture.margin, picture.margin]
    if isinstance(picture, Effects):
        shown += [x for row in picture.rows for x in row[1:4] if x is not None]
    else:
        shown += [d for _, d, _ in picture.rows if d is not None]
        shown += [end for bar in picture.bars for end in bar[1:]]
    low, high = min(shown), max(shown)
    room = 0.06 * (high - low) or 1e-6
    return low - room, high + room


def _draw_lines(axes: Axes, picture: Lines) -> None:
    for series in picture.series:
        style = series.place % len(ARMS)
        axes.fill_between(series.x, series.low, series.high, color=ARMS[style], alpha=0.18, linewidth=0)
        axes.plot(
            series.x, series.y, color=ARMS[style], linestyle=_DASHES[style], linewidth=1.7, marker=_MARKERS[style],
            markersize=4.2, label=_escape_label(series.label), markevery=max(1, len(series.x) // 12),
        )  # fmt: skip
    if picture.is_x_log:
        ticks = sorted({x for series in picture.series for x in series.x})
        axes.set_xscale("log")
        axes.set_xticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
    _finish(axes, picture)


def _draw_dots(axes: Axes, picture: Dots) -> None:
    for series in picture.series:
        style = series.place % len(ARMS)
        axes.plot(
            series.x, series.y, color=ARMS[style], linestyle="none", marker=_MARKERS[style], markersize=6, alpha=0.85,
            label=_escape_label(series.label), markeredgecolor=PAPER, markeredgewidth=0.6,
        )  # fmt: skip
    xs = [x for series in picture.series for x in series.x]
    if max(xs) - min(xs) < 1e-6 * max(xs):  # all arms cost the same: no axis of rounding errors
        axes.set_xlim(0.9 * min(xs), 1.1 * max(xs))
    axes.margins(x=0.08, y=0.12)
    _finish(axes, picture)


def _finish(axes: Axes, picture: Lines | Dots) -> None:
    axes.set_title(_wrap(picture.title, 58))
    axes.set_xlabel(picture.x_label)
    axes.set_ylabel(picture.y_label)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if not (isinstance(picture, Lines) and picture.is_x_log):
        axes.locator_params(axis="x", nbins=7)
    if isinstance(picture, Lines) and len(picture.series) <= 4:
        axes.legend(loc="upper right", fontsize=9, handlelength=3)
    else:  # below, where it hides nothing
        axes.figure.legend(loc="outside lower center", ncols=2, fontsize=9, handlelength=3)


def _escape_label(text: str) -> str:
    """A leading underscore would hide it from the legend, a dollar would start a formula."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)).replace("$", r"\$")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
