import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paribus.errors import StoreError
from paribus.store.files import held, read_json, read_jsonl, write_bytes, write_json
from paribus.store.records import Finding, Record, loss_curve
from paribus.store.store import Store

RECORD = Record("abc", 3, "done", metrics={"val_loss": 1.5}, evaluations=({"step": 1, "loss": 2.0},))


def test_a_record_comes_back_as_it_was_written(tmp_path):
    store = Store.create(tmp_path / "store")
    assert not store.is_done("abc")
    store.write_record(RECORD)
    assert store.is_done("abc")
    assert store.read_record("abc") == RECORD


@pytest.mark.parametrize(
    ("tokens", "points"),
    [
        ([], 0),
        ([0], 1),
        ([0, 100, 200], 3),
        ([0, 100, 200, 200], 3),  # the last one scored all held-out tokens
        ([200, 200], 1),
    ],
)
def test_the_loss_curve_ends_before_a_second_evaluation_at_the_same_tokens(tokens, points):
    evaluations = tuple({"tokens": count, "loss": 9.0 - i} for i, count in enumerate(tokens))
    assert loss_curve(evaluations) == evaluations[:points]
    assert loss_curve(list(evaluations)) == list(evaluations[:points])


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.0]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.0]}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_bytes(tmp_path / "x", b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full; what was finished before is kept"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="is not empty and is no paribus store"):
        Store.create(tmp_path)
    with pytest.raises(StoreError, match="no paribus store at"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_a_store_of_another_format_is_refused(tmp_path):
    Store.create(tmp_path)
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="format 99; this paribus reads and writes format 1"):
        Store.create(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_place_is_said_to_be_one(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot write"):
        Store.create(tmp_path / "store")


def test_a_place_under_a_file_is_said_to_be_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*file/store"):
        Store.create(tmp_path / "file" / "store")


@pytest.mark.parametrize("visit", [Store.create, Store.open])
def test_a_file_in_the_place_of_a_store_is_named(tmp_path, visit):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file is a file; a store is a folder$"):
        visit(tmp_path / "file")


def test_the_remedy_of_a_damaged_marker_makes_the_store_whole_again(tmp_path):
    Store.create(tmp_path).write_record(RECORD)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(StoreError) as raised:
        Store.open(tmp_path)
    remedy = re.search(r"write (.*) into it", str(raised.value))
    (tmp_path / "store.json").write_text(remedy[1])
    assert Store.open(tmp_path).read_record("abc") == RECORD


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("runs/abc/result.json", "delete {}/runs/abc and call `paribus run` again"),
        ("studies/norm/registration.json", "move {}/studies/norm away"),
        ("studies/norm/findings.json", "call `paribus run` again, which writes it anew"),
        ("studies/norm/timing.json", "`paribus time` again"),
        ("nulls/norm.json", "`paribus calibrate` again"),
    ],
)
def test_the_remedy_of_a_damaged_file_loses_nothing_else(tmp_path, place, remedy):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("{")
    with pytest.raises(StoreError, match=re.escape(remedy.format(tmp_path))) as raised:
        read_json(tmp_path / place)
    assert ("delete" in str(raised.value)) == (not place.startswith("studies") or "timing" in place)


@pytest.mark.parametrize(
    "content",
    [b'{"format": 1, "digest": "abc"', b"", b'{"format": 1, "surprise": 2}', b"[]", b"\xff", b'{"format": 2}'],
)
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    store = Store.create(tmp_path)
    store.write_record(RECORD)
    (tmp_path / "runs" / "abc" / "result.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result\.json (is damaged|was written in format)"):
        store.read_record("abc")


def test_a_record_in_the_folder_of_another_run_is_refused(tmp_path):
    store = Store.create(tmp_path)
    store.write_record(RECORD)
    (tmp_path / "runs" / "abc").rename(tmp_path / "runs" / "xyz")
    with pytest.raises(StoreError, match="is the result of run abc"):
        store.read_record("xyz")


@pytest.mark.parametrize("content", ['{"a": 1}', '[{"check": "x"}]', "[1]", '[{"check": "x", "severity": "bad"}]'])
def test_damaged_findings_are_refused_by_name(tmp_path, content):
    store = Store.create(tmp_path)
    store.write_findings("toy", [])
    (tmp_path / "studies" / "toy" / "findings.json").write_text(content)
    with pytest.raises(StoreError, match=r"findings\.json is damaged"):
        store.read_findings("toy")


def test_what_a_first_write_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / ".store.json.abc").write_text("{")
    assert Store.create(tmp_path).study_names() == []


def test_a_truncated_line_is_refused_by_number(tmp_path):
    for rest in (b'{"step": 2, "lo', b"\xff\xfe"):
        (tmp_path / "steps.jsonl").write_bytes(b'{"step": 1}\n' + rest)
        with pytest.raises(StoreError, match=r"steps\.jsonl:2 is damaged"):
            read_jsonl(tmp_path / "steps.jsonl")
    with pytest.raises(StoreError, match="is missing"):
        read_jsonl(tmp_path / "none.jsonl")


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path):
    store = Store.create(tmp_path)
    code = f"import sys; from paribus.store.store import Store\nwith Store.open({str(tmp_path)!r}).lock(): sys.exit(7)"

    def other():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    with store.lock():
        refused = other()
        assert refused.returncode == 1
        assert "another `paribus run` is using" in refused.stderr
    assert other().returncode == 7


def test_a_lock_dies_with_its_holder(tmp_path):
    path = str(tmp_path / "l")
    code = f"import os, pathlib, paribus.store.files as r\nwith r.held(pathlib.Path({path!r})): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    with held(tmp_path / "l") as free:
        assert free


def test_a_finding_has_one_of_three_severities():
    with pytest.raises(ValueError, match="severity is one of"):
        Finding("causality", "bad", "moved")


def test_pages_are_written_where_the_store_says_and_an_unwritable_place_is_one_error(tmp_path):
    store = Store.create(tmp_path / "store")
    places = store.write_pages("toy", {"report.md": b"words", "figures/a.svg": b"<svg/>"})
    assert {file: Path(place).read_bytes() for file, place in places.items()} == {
        "report.md": b"words", "figures/a.svg": b"<svg/>",
    }  # fmt: skip
    (tmp_path / "store" / "studies" / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        store.write_pages("file", {"report.md": b"words"})


def test_a_run_is_held_by_one_and_cleaned_of_what_a_killed_process_left(tmp_path):
    store = Store.create(tmp_path)
    store.write_run("abc", {"seed": 3})
    (tmp_path / "runs" / "abc" / ".result.json.x").write_text("{")
    with store.hold_run("abc") as folder:
        assert {path.name for path in folder.iterdir()} == {"run.json", "lease"}
        with store.hold_run("abc") as other:
            assert other is None
    assert store.is_started("abc") and not store.is_done("abc")
    assert store.read_run("abc") == {"format": 1, "digest": "abc", "seed": 3}


def test_a_forgotten_record_is_one_that_was_never_written(tmp_path):
    store = Store.create(tmp_path)
    store.write_record(RECORD)
    assert store.count_finished() == 1
    store.forget_record("abc")
    assert (store.is_done("abc"), store.count_finished()) == (False, 0)
