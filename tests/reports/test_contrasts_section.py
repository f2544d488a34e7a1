"""What a report says of contrasts, on judged studies made by hand."""

import re

import pytest
from judged_studies import BASELINE_MODEL, RECIPE, ScaleNorm, Text, judge_records, make_record

import paribus as pb
from paribus.cli.texts import result_text, status_text
from paribus.design.specs import spec
from paribus.lab.store_status import Status, StudyStatus
from paribus.reports.figures import draw_picture
from paribus.reports.html_page import write_html
from paribus.reports.markdown import write_markdown
from paribus.reports.page import compose_page
from paribus.reports.result import Result
from paribus.store.records import Finding

NOISE = [0.004, -0.006, 0.003, -0.002, 0.005, -0.004]
STEEP = Finding("schedule", "doubt", "its loss still falls steeply", "wide", remedy="Train longer.")


def make_study(**changes):
    return pb.factorial(
        question="Do <they> add up?",
        baseline=BASELINE_MODEL,
        factors={"norm": {"*norm": spec(ScaleNorm)}, "wide": {"d_model": 128}},
        data=spec(Text, source="stdlib"),
        training=RECIPE,
        margin=0.02,
        **changes,
    )


def judge(effects, n=3, findings=(), diverged=(), study=None):
    study = study or make_study()
    records = {
        arm: {
            seed: make_record(arm, seed, None, "diverged")
            if (arm, seed) in diverged
            else make_record(arm, seed, 4.3 + effects.get(arm, 0.0) + NOISE[(seed + place) % 6])
            for seed in range(n)
        }
        for place, arm in enumerate(study.arms)
    }
    return judge_records(study, records, findings)


ADDITIVE = {"norm": 0.2, "norm + wide": 0.2}


def test_every_contrast_has_its_sentence_mains_first_and_a_row_in_one_table():
    page = compose_page(judge(ADDITIVE))
    assert [claim.name for claim in page.contrasts.claims] == ["effect of norm", "effect of wide", "norm:wide"]
    assert page.contrasts.claims[0].lead == "The main effect of norm is for the worse:"
    assert [row[0] for row in page.contrasts.numbers.rows] == ["effect of norm", "effect of wide", "norm:wide"]
    assert page.contrasts.numbers.rows[0][-1] == "worse"
    assert page.contrasts.weights.rows[0] == ("baseline", "-0.5", "-0.5", "+0.5")
    assert [row[0] for row in page.contrasts.values.rows] == ["0", "1", "2"]


def test_one_figure_shows_all_effects_with_their_intervals():
    page = compose_page(judge(ADDITIVE))
    picture = page.contrasts.picture
    assert page.pictures[0] is picture
    assert [row[0] for row in picture.rows] == ["effect of norm", "effect of wide", "norm:wide"]
    assert all(low < mean < high for _, mean, low, high, _ in picture.rows)
    assert (picture.lower, picture.higher, picture.margin) == ("better", "worse", 0.02)
    svg = draw_picture(picture, "svg").decode()
    assert all(name in svg for name in ("effect of norm", "effect of wide", "norm:wide"))
    for name, text in ((row[0], row[4]) for row in picture.rows):
        assert f"{name} {text}" in picture.alt


def test_markdown_and_html_hold_the_same_verdicts_and_escape_what_users_wrote():
    page = compose_page(judge(ADDITIVE))
    markdown, html = write_markdown(page), write_html(page)
    for text in (markdown, html):
        said = re.sub(r"<[^>]*>|\*\*", "", text)
        assert re.search("The main effect of norm is for the worse: validation loss higher by 0.(19|20)", said)
        assert "Contrasts get no runs at other learning rates" in said
        assert "all three contrasts together" in said
        assert "<they>" not in text
    assert "## Effects" in markdown
    assert "(figures/effects.png)" in markdown


def test_a_doubt_about_an_arm_stands_with_the_doubts_of_its_contrasts():
    judged = judge(ADDITIVE, findings=[STEEP])
    page = compose_page(judged)
    assert [doubt.message for doubt in page.doubts] == ["its loss still falls steeply."]
    assert not page.described_doubts
    assert all(row.verdict.doubts for row in judged.contrasts.values())


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_study_without_enough_seeds_is_told_as_far_as_it_is(n):
    page = compose_page(judge(ADDITIVE, n=n))
    assert (page.contrasts.picture is None) == (n == 0)
    assert {claim.kind for claim in page.contrasts.claims} == {"undecided"}
    for text in (write_markdown(page), write_html(page)):
        assert ("No seed is finished yet" in text) == (n == 0)


def test_an_arm_that_diverged_is_named_in_the_row_of_its_seed():
    page = compose_page(judge(ADDITIVE, diverged=[("norm + wide", 1)]))
    assert page.contrasts.values.rows[1][1:] == ("norm + wide diverged",) * 3
    assert {claim.kind for claim in page.contrasts.claims} == {"undecided"}


def test_the_terminal_tells_contrasts_before_arms_and_counts_their_seeds():
    judged = judge(ADDITIVE)
    lines = result_text(Result(judged, "report.html")).splitlines()
    assert lines[2:5] == [row.verdict.sentence for row in judged.contrasts.values()]
    assert lines[2].startswith("The main effect of norm is for the worse")
    assert any(line.startswith("norm + wide (descriptive)") for line in lines[5:])
    row = {"treatment": "norm:wide", "primary": True, "pairs": 3, "mean": 0.1, "interval": None, "verdict": None}
    status = Status("store", 0, [], {"s": StudyStatus("?", {}, [{**row, "contrast": True}, row])})
    assert [line.strip() for line in status_text(status).splitlines()[-2:]] == [
        "norm:wide: 3 seeds, +0.1000",
        "norm:wide: 3 pairs, +0.1000",
    ]


def test_a_study_of_pairs_has_no_section_of_effects():
    from judged_studies import CASES

    judged = CASES["better"]()
    page = compose_page(judged)
    assert page.contrasts is None
    assert "contrasts" not in judged.to_json()
    assert "Effects" not in write_markdown(page) + write_html(page)
