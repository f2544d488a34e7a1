from dataclasses import replace

import pytest
from judged_studies import judge_losses

from paribus.judgement import Rule
from paribus.judgement.power import calibrate_null
from paribus.judgement.registration import RegisteredRun
from paribus.judgement.report_data import FinishedExtraRun
from paribus.judgement.tuned import Trial, Tuned, TunedArm
from paribus.reports.html_page import write_html
from paribus.reports.markdown import write_markdown
from paribus.reports.page import compose_page


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    monkeypatch.setattr("paribus.reports.html_page.inline_svg", lambda picture: f"<svg>{picture.name}</svg>")


def page_of(**beside):
    return compose_page(replace(judge_losses(-0.05, n=3), **beside))


def the(title, page):
    (section,) = (section for section in page.sections if section.title == title)
    return section


def curve(*values):
    rates = (0.5, 1.0, 2.0)
    return tuple(
        Trial({"learning_rate": rate}, ("digest",), (value,), value) for rate, value in zip(rates, values, strict=True)
    )


def tuned(**changes):
    arms = {
        "baseline": TunedArm(curve(4.1, 4.0, 4.2), {"learning_rate": 1.0}, ()),
        "ScaleNorm": TunedArm(curve(4.3, 4.1, None), {"learning_rate": 1.0}, ()),
    }
    told = Tuned({"learning_rate": (0.5, 1.0, 2.0)}, None, 1, 5000, 2, (5000,), 0, None, arms)
    return replace(told, **changes)


def test_without_runs_beside_the_pairs_there_is_no_such_section():
    assert page_of().sections == ()
    assert page_of(extra_runs={}, tuning=None, null=None).sections == ()


def test_tuning_shows_every_trial_of_every_arm_and_marks_what_was_chosen():
    section = the("Tuning", page_of(tuning=tuned()))
    (table,) = section.tables
    assert table.header[1:] == ("baseline", "ScaleNorm")
    assert [row[0] for row in table.rows] == ["0.500", "1.00", "2.00"]
    assert [row[1] for row in table.rows] == ["4.100", "4.000 (chosen)", "4.200"]
    assert [row[2] for row in table.rows] == ["4.300", "4.100 (chosen)", "diverged"]


def test_the_picture_of_a_tuned_rate_leaves_out_what_diverged_and_has_equal_factors_at_equal_steps():
    (picture,) = the("Tuning", page_of(tuning=tuned())).pictures
    assert picture.is_x_log
    assert [series.x for series in picture.series] == [(0.5, 1.0, 2.0), (0.5, 1.0)]
    assert picture in page_of(tuning=tuned()).pictures


def test_of_two_tuned_hyperparameters_the_picture_shows_the_rate_at_the_best_of_the_other():
    points = [({"learning_rate": rate, "clip": clip}, rate + clip) for rate in (0.5, 1.0) for clip in (1.0, 2.0)]
    trials = tuple(Trial(point, ("digest",), (value,), value) for point, value in points)
    arm = TunedArm(trials, trials[0].point, ())
    over = {"learning_rate": (0.5, 1.0), "clip": (1.0, 2.0)}
    section = the("Tuning", page_of(tuning=tuned(over=over, arms={"baseline": arm, "ScaleNorm": arm})))
    (picture,) = section.pictures
    assert [(series.x, series.y) for series in picture.series] == 2 * [((0.5, 1.0), (1.5, 2.0))]
    assert [row[:2] for row in section.tables[0].rows][:2] == [("0.500", "1.00"), ("0.500", "2.00")]


def test_a_trial_that_blew_up_hides_neither_the_digits_nor_the_curves_of_the_others():
    arms = {**tuned().arms, "ScaleNorm": TunedArm(curve(4.3, 4.1, 7e10), {"learning_rate": 1.0}, ())}
    section = the("Tuning", page_of(tuning=tuned(arms=arms)))
    assert [row[2] for row in section.tables[0].rows][:2] == ["4.300", "4.100 (chosen)"]
    (picture,) = section.pictures
    assert picture.series[1].x == (0.5, 1.0)
    assert "1 trial far worse" in picture.caption


def test_a_tuned_study_does_not_say_that_no_arm_was_tuned():
    limits = " ".join(page_of(tuning=tuned()).limits)
    assert "each tuned with equal effort: 3 trials" in limits
    assert "No arm was tuned" not in limits
    assert "No arm was tuned" in " ".join(page_of().limits)


def rate(arm, factor, value, status="done"):
    return FinishedExtraRun(RegisteredRun(0, "digest", arm=arm, factor=factor), status, value)


def test_other_rates_stand_beside_the_shared_one_with_the_differences_at_each():
    rates = [rate("baseline", 0.5, 4.5), rate("ScaleNorm", 0.5, 4.25), rate("baseline", 2.0, 4.4)]
    rates.append(rate("ScaleNorm", 2.0, None, "diverged"))
    page = page_of(extra_runs={"rates": tuple(rates)})
    (table,) = the("Other learning rates", page).tables
    assert table.header == ("learning rates", "baseline", "ScaleNorm")
    assert [row[0] for row in table.rows] == ["0.5 x", "1 x (shared)", "2 x"]
    assert table.rows[0][1:] == ("4.500", "4.250 (-0.250)")
    assert table.rows[2][1:] == ("4.400", "diverged")
    first = page.primary[0].pairs.rows[0]  # the pair of the first seed
    assert float(table.rows[1][1]) == pytest.approx(float(first[1]), abs=5e-3)


def test_the_noise_of_the_baseline_is_told_with_its_intervals_and_the_power_of_the_budget():
    null = calibrate_null([4.0, 4.1, 4.2], [4.001, 4.099, 4.2], Rule(margin=0.02), "nats/token")
    section = the("The baseline against itself", page_of(null=null))
    assert section.sentences[0].startswith("The baseline has an sd of 0.1 (90 % interval ")
    assert section.sentences[2:] == null.sentences
    (table,) = section.tables
    assert len(table.rows) == 3
    assert table.rows[0][2].startswith("100 % equivalent, 3.")


def test_both_pages_show_the_sections():
    rates = [rate("baseline", 0.5, 4.5), rate("ScaleNorm", 0.5, 4.25)]
    widths = [FinishedExtraRun(RegisteredRun(0, "digest", width=80), "done", 4.125, 1000.0)]
    page = page_of(tuning=tuned(), extra_runs={"rates": tuple(rates), "widths": tuple(widths)}, null=None)
    for text in (write_markdown(page), write_html(page)):
        for shown in ("Tuning", "Other learning rates", "Size response", "(-0.25", "(chosen)", "tuning"):
            assert shown in text
