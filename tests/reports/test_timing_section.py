import re
from dataclasses import replace

import pytest
from judged_studies import judge_losses

from paribus.judgement import TIME_MARGIN, Rule, SpeedVerdict
from paribus.judgement.speed import ArmTimes, MeasuredTimes, Reference
from paribus.reports.html_page import write_html
from paribus.reports.markdown import write_markdown
from paribus.reports.page import compose_page


def arm(step, first, blocks=4):
    return ArmTimes(first_step_seconds=first, step_seconds=step, block_seconds=(2 * step,) * blocks, cpu_share=0.99)


def row(kind, ratio=None, interval=None, rounds=4, inner=None):
    return SpeedVerdict(kind, ratio, interval, inner, rounds)


def make_timing(busy=False, **treatments):
    return MeasuredTimes(
        margin=0.02,
        rule=Rule(margin=TIME_MARGIN),
        rounds=4,
        rejected_rounds={"reference": 1, "descheduled": 0},
        busy=busy,
        steps_per_block=2,
        arms={name: arm(0.0123456, 0.5) for name in ("baseline", *treatments)},
        reference=Reference(seconds=0.02004, spread=1.05, times=30),
        load_average=(None, None),
        treatments=treatments,
        device="cpu",
        device_name="x86_64",
        threads=1,
    )


SLOWER = row("slower", 1.0314, (1.0212, 1.0414))


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    monkeypatch.setattr("paribus.reports.html_page.inline_svg", lambda picture: f"<svg>{picture.name}</svg>")


def page_of(timing, names=("ScaleNorm",)):
    return compose_page(replace(judge_losses(0.0, n=3, names=names), times=timing))


def both(page):
    html = re.sub(r"<style>.*?</style>|<[^>]+>", " ", write_html(page), flags=re.S).replace("\xa0", " ")
    html = html.replace("&#39;", "'")
    return write_markdown(page), " ".join(html.split())


def test_the_sentence_has_the_ratio_its_interval_the_rounds_and_the_verdict():
    page = page_of(make_timing(ScaleNorm=SLOWER))
    said = (
        "ScaleNorm takes 1.031 of the baseline's time per step (interval 1.021 to 1.041, 4 interleaved rounds): slower."
    )
    assert page.times.sentences == (said,)
    for text in both(page):
        assert said in text
        assert "No speed claim" not in text
        assert "The times under Time and memory come from runs side by side" in text


def test_equal_times_show_the_interval_that_was_read_for_it():
    equal = row("equal within 2 %", 1.003, (0.981, 1.025), inner=(0.988, 1.018))
    (said,) = page_of(make_timing(ScaleNorm=equal)).times.sentences
    assert said.endswith(
        "(interval 0.981 to 1.025, equivalence interval 0.988 to 1.018, 4 interleaved rounds): equal within 2 %."
    )


def test_a_narrow_interval_gets_the_decimals_it_needs():
    fine = row("slower", 1.03142, (1.03139, 1.03145))
    (said,) = page_of(make_timing(ScaleNorm=fine)).times.sentences
    assert "takes 1.031420 of" in said
    assert "interval 1.031390 to 1.031450" in said


def test_on_a_busy_machine_no_speed_is_claimed():
    timing = make_timing(busy=True, ScaleNorm=row("undecided", 1.2, None, rounds=1))
    (said,) = page_of(timing).times.sentences
    assert said.endswith("(1 interleaved round, no interval yet): no speed claim, the machine was busy.")
    (said,) = page_of(make_timing(busy=True, ScaleNorm=row("undecided", rounds=0))).times.sentences
    assert said == "ScaleNorm: no speed claim, the machine was never quiet enough for a round."


def test_the_table_has_a_row_per_arm_in_the_order_of_the_page():
    page = page_of(make_timing(b=SLOWER, a=row("faster", 0.9, (0.88, 0.92))), names=("b", "a"))
    assert [cells[0] for cells in page.times.table.rows] == ["baseline", "b", "a"]
    assert page.times.table.rows[0] == ("baseline", "0.01235", "0.500", "4", "1", "—", "—")
    assert page.times.table.rows[2][4:] == ("0.900", "0.880 to 0.920", "faster")
    markdown, html = both(page)
    assert "| b | 0.01235 | 0.500 | 4 | 1.031 | 1.021 to 1.041 | slower |" in markdown
    assert "0.01235 0.500 4 1.031 1.021 to 1.041 slower" in html


def test_how_it_was_measured_names_machine_reference_and_rejected_rounds():
    how = page_of(make_timing(ScaleNorm=SLOWER)).times.how
    assert "(cpu, x86_64, 1 thread): in a round each trains 2 steps" in how
    assert "took 0.0200 s, at most 1.05 times that; 1 of 5 rounds were measured again" in how
    assert "hold for 95 %" in how
    assert "less than 2 % counts as equal" in how


def test_without_timing_the_clock_rows_claim_nothing_and_say_how_to_make_a_claim():
    page = compose_page(judge_losses(0.0, n=3))
    assert page.times is None
    for text in both(page):
        assert "No speed claim: the times under Time and memory come from runs side by side." in text
        assert "paribus time STUDY" in text


def test_before_the_first_run_there_is_no_clock_to_speak_of():
    for text in both(compose_page(judge_losses(0.0, n=0))):
        assert "speed claim" not in text
