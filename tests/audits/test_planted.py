"""Studies with one planted flaw each, and honest ones: every flaw is caught, nobody honest is suspected."""

import ast
import sys
from pathlib import Path

import pytest
import torch

from paribus.audits import CHECKS
from paribus.design.study_files import read_study
from paribus.errors import ParibusError
from paribus.lab import checking, judging
from paribus.lab import running as lab

torch.set_num_threads(1)

FOLDER = Path(__file__).parent / "planted"
FLAWED = sorted(FOLDER.glob("flawed_*.py"))
CLEAN = sorted(FOLDER.glob("clean_*.py"))
ORIGINS = range(1, 18)
UNPLANTED = {"corpus": "needs a hub that cannot be reached: tests/studies/test_built_in_studies.py"}
"""Check to the reason why no study file can plant its flaw."""

_WHEN = {check.name: check.when for check in CHECKS}


def constant(file, name):
    """What a file assigns to ``name``, without importing it; None where it does not."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return None


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Reports without their pictures: drawing them takes longer than the runs."""
    monkeypatch.setattr("paribus.reports.html_page.inline_svg", lambda picture: "")
    monkeypatch.setattr("paribus.reports.figures.draw_picture", lambda picture, kind: b"")


def findings_of(file, store):
    """What the audits say of a study that was run, and judged again after its ``spoil``, where it has one.

    A ``spoil`` that runs the study anew returns the name under which that is registered.
    """
    report = lab.run(file, store=store, executor="inline").report
    if spoil := getattr(sys.modules[f"study_{file.stem}"], "spoil", None):
        report = judging.judge(store, spoil(store) or report.name).report
    of_times = report.times.findings if report.times else ()
    return [finding.to_json() for finding in (*report.findings, *of_times)]


def audit(file, store):
    """Findings of a planted study, as plain values; it is trained only where its flaw shows in no other way."""
    if all(_WHEN[told["check"]] == "before" for told in told_of(file)) and not is_spoilt(file):
        return [finding.to_json() for finding in checking.check(file).findings]
    return findings_of(file, store)


def is_spoilt(file):
    return any(isinstance(node, ast.FunctionDef) and node.name == "spoil" for node in ast.parse(file.read_text()).body)


def told_of(file):
    """The findings that ``CAUGHT`` describes; () for a study that is refused."""
    caught = constant(file, "CAUGHT") or ()
    return (caught,) if isinstance(caught, dict) else caught


def is_told(finding, told):
    """Whether a finding is what one entry of ``CAUGHT`` says of it."""
    return all(key in finding and agrees(finding[key], value) for key, value in told.items())


def concerns(finding, caught):
    """Whether a finding is by the check of an entry of ``CAUGHT``, and of its arm where the entry names one."""
    return any(
        finding["check"] == told["check"] and finding["arm"] == told.get("arm", finding["arm"]) for told in caught
    )


def agrees(value, expected):
    """Equal; inside, of a tuple (low, high); of a dict, so at each of its keys, whatever others there are."""
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(key in value and agrees(value[key], e) for key, e in expected.items())
    if isinstance(expected, tuple):
        return isinstance(value, int | float) and expected[0] <= value <= expected[1]
    return value == expected


@pytest.mark.parametrize("file", FLAWED, ids=lambda file: file.stem)
def test_a_planted_flaw_is_caught_by_its_check_at_its_site_and_by_no_other(file, home, tmp_path):
    if refused := constant(file, "REFUSED"):
        with pytest.raises(ParibusError) as error:
            read_study(file)
            findings_of(file, tmp_path / "store")
        assert refused in str(error.value)
        return
    found = audit(file, tmp_path / "store")
    caught = told_of(file)
    missing = [told for told in caught if not any(is_told(finding, told) for finding in found)]
    assert missing == [], found
    also = constant(file, "ALSO") or ()
    others = [f for f in found if f["severity"] != "note" and f["check"] not in also and not concerns(f, caught)]
    assert [f"{f['severity']} {f['check']}: {f['message']}" for f in others] == []


@pytest.mark.parametrize("file", CLEAN, ids=lambda file: file.stem)
def test_an_honest_study_has_no_finding_above_a_note(file, home, tmp_path):
    found = findings_of(file, tmp_path / "store")
    assert [f"{f['severity']} {f['check']}: {f['message']}" for f in found if f["severity"] != "note"] == []


def test_each_of_the_seventeen_originals_is_planted():
    told = " ".join(ast.get_docstring(ast.parse(file.read_text())) for file in FLAWED)
    assert [number for number in ORIGINS if f"(Origin {number}.)" not in told] == []


def test_every_check_is_the_target_of_a_planted_study():
    planted = {told["check"] for file in FLAWED for told in told_of(file)}
    assert [check.name for check in CHECKS if check.name not in planted | set(UNPLANTED)] == []
    assert [name for name in UNPLANTED if name in planted] == []


def test_evidence_is_compared_key_by_key_and_numbers_within_what_is_given():
    finding = {"check": "budget", "evidence": {"passes": {"idea": 4.2}, "tokens": 7}}
    assert is_told(finding, {"evidence": {"tokens": 7, "passes": {"idea": (4, 5)}}})
    assert not is_told(finding, {"evidence": {"passes": {"idea": (1, 2)}}})
    assert not is_told(finding, {"evidence": {"passes": {"baseline": 4.2}}})


def test_there_are_at_least_thirty_of_each():
    assert len(FLAWED) >= 30
    assert len(CLEAN) >= 30
