"""What a run hands back, as a notebook uses it: verdicts, comparisons, a frame, figures, HTML."""

import io
import sys
from pathlib import Path

import matplotlib
import pytest
from judged_studies import CASES, LEAK, judge_losses

from paribus.design.markup import escape
from paribus.errors import ParibusError
from paribus.judgement import Verdict
from paribus.judgement.comparison import Comparison
from paribus.reports.page import compose_page
from paribus.reports.result import Result


def result_of(judged):
    return Result(judged, Path("store/report.html"))


@pytest.fixture
def better():
    return result_of(CASES["better"]())


def test_verdicts_are_the_judgements_own_and_read_as_their_sentence(better):
    (verdict,) = better.verdicts.values()
    assert isinstance(verdict, Verdict)
    written = better.report.to_json()["treatments"]["ScaleNorm"]["verdict"]
    assert (verdict.kind, str(verdict)) == ("better", written["sentence"])
    assert verdict.to_json() == written


def test_comparisons_are_the_judgements_own(better):
    (comparison,) = better.comparisons.values()
    assert isinstance(comparison, Comparison)
    assert comparison.to_json() == better.report.to_json()["treatments"]["ScaleNorm"]["comparison"]


@pytest.mark.parametrize("case", CASES)
def test_every_case_of_the_reports_comes_back_and_is_shown(case):
    result = result_of(CASES[case]())
    assert {name: comparison.to_json() for name, comparison in result.comparisons.items()} == {
        name: row["comparison"] for name, row in result.report.to_json()["treatments"].items()
    }
    shown = result._repr_markdown_()
    for verdict in result.verdicts.values():
        assert f"**{verdict.kind}** {escape(verdict.sentence)}" in shown
    for finding in result.report.findings:
        assert (escape(finding.message) in shown) == (finding.severity != "note")


def test_an_invalid_verdict_is_exit_code_three():
    assert result_of(judge_losses(0.0, findings=[LEAK])).exit_code == 3
    assert result_of(CASES["better"]()).exit_code == 0


def test_a_frame_has_a_row_per_run_with_the_reports_numbers(better):
    frame = better.frame()
    assert list(frame.columns[:3]) == ["arm", "seed", "status"]
    n_pairs = better.comparisons["ScaleNorm"].n_pairs
    assert list(frame.arm.value_counts()) == [n_pairs, n_pairs]
    comparison = better.comparisons["ScaleNorm"]
    wide = frame.pivot(index="seed", columns="arm", values="val_loss")
    assert list(wide["ScaleNorm"] - wide["baseline"]) == list(comparison.differences)
    assert frame["measured.training_seconds"].notna().all()


def test_a_run_that_diverged_has_its_row_and_no_numbers():
    result = result_of(CASES["unstable"]())
    frame = result.frame()
    diverged = frame[frame.status == "diverged"]
    assert len(diverged) and diverged.val_loss.isna().all()
    assert frame[frame.status == "done"].val_loss.notna().all()


def test_a_study_without_runs_has_an_empty_frame():
    frame = result_of(CASES["no pairs"]()).frame()
    assert (list(frame.columns), len(frame)) == (["arm", "seed", "status"], 0)


def test_without_pandas_the_error_names_the_extra(better, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ParibusError, match=r"paribus\[notebook\]"):
        better.frame()


def test_figures_are_those_of_the_report_and_belong_to_the_caller(better):
    before = dict(matplotlib.rcParams)
    figures = better.figures()
    assert list(figures) == [picture.name for picture in compose_page(better.report).pictures]
    assert dict(matplotlib.rcParams) == before
    figure = next(iter(figures.values()))
    figure.axes[0].set_title("changed")
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    assert b"changed" in file.getvalue()
    assert next(iter(better.figures().values())).axes[0].get_title(loc="left") != "changed"
