import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from judged_studies import CASES

from paribus.reports import FORMS, render_report
from paribus.reports.figures import ARMS, draw_picture, inline_svg
from paribus.reports.page import compose_page

WITH_DIFFERENCES = [case for case in CASES if case != "no pairs"]


def difference_picture(case):
    return compose_page(CASES[case]()).primary[0].picture


@pytest.mark.parametrize("case", WITH_DIFFERENCES)
def test_the_picture_of_every_kind_of_study_is_drawn_with_its_rows_as_text(case):
    picture = difference_picture(case)
    svg = draw_picture(picture, "svg").decode()
    texts = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    for label, _, text in picture.rows:
        assert label in texts and text in texts
    assert ("margin" in texts) == (picture.margin > 0)
    assert any(picture.lower in text for text in texts) and any(picture.higher in text for text in texts)


def test_a_study_without_a_pair_has_no_picture():
    assert difference_picture("no pairs") is None


def test_equal_pictures_give_equal_bytes_as_svg_and_as_png():
    picture = difference_picture("equivalent")
    for kind in ("svg", "png"):
        first = draw_picture(picture, kind)
        draw_picture.cache_clear()
        assert draw_picture(picture, kind) == first
    assert first.startswith(b"\x89PNG")


def test_the_style_of_the_user_changes_no_figure():
    import matplotlib

    picture = difference_picture("equivalent")
    plain = draw_picture(picture, "svg")
    draw_picture.cache_clear()
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert draw_picture(picture, "svg") == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_curves_and_costs_show_every_arm_and_a_file_is_drawn_for_each():
    page = compose_page(CASES["several"]())
    assert [p.name for p in page.curves] == ["loss-steps", "loss-tokens", "loss-seconds", "loss-flops"]
    assert [p.name for p in page.costs] == ["cost-seconds", "cost-flops"]
    for picture in (page.curves[0], page.costs[1]):
        svg = draw_picture(picture, "svg").decode()
        assert [series.place for series in picture.series] == [0, 1, 2, 3, 4]
        assert all(colour in svg for colour in ARMS[:5])
        assert "scale norm, last" in svg


def test_seconds_come_from_measured_and_flops_are_tokens_times_flops_per_token():
    judged = CASES["equivalent"]()
    by_name = {picture.name: picture for picture in compose_page(judged).pictures}
    assert by_name["loss-seconds"].series[0].x == judged.arms["baseline"].curve_seconds
    assert by_name["loss-flops"].x_label == "training compute, GFLOP"
    assert by_name["loss-flops"].series[0].x[-1] == pytest.approx(307_200 * 3_096_576 / 1e9)


def test_a_picture_in_a_page_names_no_address_has_its_own_ids_and_follows_the_colours_of_the_page():
    picture = difference_picture("several")
    svg = inline_svg(picture)
    assert "http" not in svg and "<metadata" not in svg and "<?xml" not in svg
    assert 'role="img"' in svg and "aria-label=" in svg
    assert "var(--ink, #1b1f24)" in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids and all(name.startswith(picture.name) for name in ids)
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
    assert used and {a or b for a, b in used} <= set(ids)
    ElementTree.fromstring(svg)


@pytest.mark.parametrize("name", ["$x^{2$", "_hidden", "RMSNorm 正規化", "<b>&amp;", "a" * 300])
def test_no_name_breaks_a_figure(name):
    from judged_studies import judge_losses

    page = compose_page(judge_losses(-0.08, names=(name,)))
    for picture in (page.pictures[0], page.curves[0]):
        ElementTree.fromstring(inline_svg(picture))
        assert draw_picture(picture, "png").startswith(b"\x89PNG")
        assert re.fullmatch(r"[a-z0-9-]{1,60}", picture.name)


def test_whole_reports_of_two_processes_are_equal_to_the_byte():
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from judged_studies import CASES; "
        "from paribus.reports import FORMS, render_report; case = CASES['equivalent'](); "
        "files = {file: page.hex() for form in FORMS for file, page in render_report(case, form).items()}; "
        "print(json.dumps(files))"
    )
    process = [sys.executable, "-c", code, Path(__file__).parent]
    written = json.loads(subprocess.run(process, check=True, capture_output=True, text=True).stdout)
    case = CASES["equivalent"]()
    files = {file: page for form in FORMS for file, page in render_report(case, form).items()}
    assert len(files) == 3 + 2 * 7
    assert written == {file: page.hex() for file, page in files.items()}
    page = files["report.html"].decode()
    assert page.count("<svg") == 7 and not re.search(r"https?:|<script|<link|<img", page)
