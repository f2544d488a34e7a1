"""The store that write_old_store.py wrote, under commit 1760d7e and with a class that nobody here has."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paribus as pb
from paribus.errors import StudyError
from paribus.store.files import read_json

STUDIES = ("write_old_store", "write_old_store-tuned", "write_old_store-failing")


LATER = ("the baseline is not at its best",)
"""How notes begin that came after 1760d7e."""


def without_later_notes(report):
    def is_later(item):
        text = item.get("message", "") if isinstance(item, dict) else item
        return isinstance(text, str) and text.startswith(LATER)

    if isinstance(report, dict):
        return {key: without_later_notes(value) for key, value in report.items()}
    if isinstance(report, list):
        return [without_later_notes(item) for item in report if not is_later(item)]
    return report


@pytest.fixture
def old_store(tmp_path):
    return shutil.copytree(Path(__file__).parent / "old_store", tmp_path / "old_store")


def test_its_status_counts_what_lies_there(old_store):
    found = pb.status(old_store)
    assert found.finished_runs == len(list((old_store / "runs").iterdir()))
    assert found.nulls == ["write_old_store"]
    assert set(found.studies) == set(STUDIES)
    assert found.studies["write_old_store-failing"].runs["fails"].failed == [0]
    rows = {row["treatment"]: row["verdict"] for row in found.studies["write_old_store"].treatments}
    assert rows == {"own against wide": "better", "rms": "equivalent", "own": None, "wide": None}


@pytest.mark.parametrize("name", STUDIES)
def test_its_studies_are_judged_as_they_were(old_store, name):
    folder = old_store / "studies" / name
    before = read_json(folder / "report.json")
    for row in before.get("contrasts", {}).values():
        row["comparison"]["contrast"]["factors"] = row["comparison"]["contrast"].pop("effects")  # empty
    after = without_later_notes(pb.report(old_store, name).report.to_json())
    for finding in after["findings"]:
        finding.pop("bars", None)  # a later field
    assert after == before
    question = read_json(folder / "registration.json")["study"]["question"]
    for page in ("report.md", "report.html"):
        assert question in (folder / page).read_text()


def test_nothing_is_imported_to_read_it(old_store):
    code = (
        "import json, sys, paribus as pb\n"
        f"pb.status({str(old_store)!r})\n"
        f"pb.report({str(old_store)!r}, 'write_old_store')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "write_old_store", "study_write_old_store"} & set(json.loads(ended.stdout))


def test_its_models_are_not_built_and_why_is_said(old_store):
    """Its weights are left out of the repository; empty files stand for them."""
    for run in (old_store / "runs").iterdir():
        (run / "weights.pt").touch()
    script = Path(__file__).with_name("write_old_store.py")
    with pytest.raises(StudyError, match="was trained by an older paribus, whose source this is not; run it again"):
        pb.sample(old_store, "write_old_store", study=script)
