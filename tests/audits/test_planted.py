"""Studies with one planted flaw each, and honest ones: every flaw is caught, nobody honest is suspected."""

import ast
import sys
from pathlib import Path

import pytest
import torch

from paribus import lab, reports
from paribus.audits import CHECKS
from paribus.errors import ParibusError
from paribus.study_files import read_study

torch.set_num_threads(1)

FOLDER = Path(__file__).parent / "planted"
FLAWED = sorted(FOLDER.glob("flawed_*.py"))
CLEAN = sorted(FOLDER.glob("clean_*.py"))
ORIGINS = range(1, 18)

_WHEN = {check.name: check.when for check in CHECKS}


def constant(file, name):
    """What a file assigns to ``name``, without importing it; None where it does not."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    return None


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Reports as data alone: drawing them takes longer than the runs."""
    write = reports.write_report
    monkeypatch.setattr(reports, "write_report", lambda judged, folder, form: write(judged, folder, "json"))


def findings_of(file, store):
    """What the audits say of a study that was run, and judged again after its ``spoil``, where it has one."""
    result = lab.run(file, store=store, executor="inline")
    findings = result.report["findings"]
    if spoil := getattr(sys.modules[f"study_{file.stem}"], "spoil", None):
        spoil(store)
        findings = lab.judge(store, result.name)["findings"]
    return findings


def audit(file, store):
    """Findings of a planted study, as plain values; it is trained only where its flaw shows in no other way."""
    caught = constant(file, "CAUGHT")
    if caught and _WHEN[caught["check"]] == "before":
        return [finding.to_json() for finding in lab.check(file).findings]
    return findings_of(file, store)


@pytest.mark.parametrize("file", FLAWED, ids=lambda file: file.stem)
def test_a_planted_flaw_is_caught_by_its_check_at_its_site(file, home, tmp_path):
    if refused := constant(file, "REFUSED"):
        with pytest.raises(ParibusError) as error:
            read_study(file)
            findings_of(file, tmp_path / "store")
        assert refused in str(error.value)
        return
    caught = constant(file, "CAUGHT")
    found = audit(file, tmp_path / "store")
    assert any(all(finding[key] == value for key, value in caught.items()) for finding in found), found


@pytest.mark.parametrize("file", CLEAN, ids=lambda file: file.stem)
def test_an_honest_study_has_no_finding_above_a_note(file, home, tmp_path):
    found = findings_of(file, tmp_path / "store")
    assert [f"{f['severity']} {f['check']}: {f['message']}" for f in found if f["severity"] != "note"] == []


def test_each_of_the_seventeen_originals_is_planted():
    told = " ".join(ast.get_docstring(ast.parse(file.read_text())) for file in FLAWED)
    assert [number for number in ORIGINS if f"(Origin {number}.)" not in told] == []


def test_there_are_at_least_thirty_of_each():
    assert len(FLAWED) >= 30
    assert len(CLEAN) >= 30
