"""What is the same for every kind of arm, tried on a kind that a package offers."""

from dataclasses import replace

import pytest

from paribus.execution.performing import perform
from paribus.experiment.job import Job
from paribus.store.files import read_json
from paribus.store.store import Store

PACKAGE = """
from paribus.store.records import Record


def count(job, folder, report, stop):
    if job.seed == 13:
        raise RuntimeError("no thirteen")
    report({"step": 1})
    return Record(job.digest, job.seed, "done", metrics={"val_loss": float(job.seed)})
"""
OFFERS = """
[paribus.performers]
counted = counting_arms:count
absent = counting_arms:absent
broken = counting_arms.nothing:count
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """A package with a performer, and with offers that lead nowhere."""
    info = tmp_path / "site" / "counting_arms-1.dist-info"
    info.mkdir(parents=True)
    (info.parent / "counting_arms.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-arms\nVersion: 1\n")
    (info / "entry_points.txt").write_text(OFFERS)
    monkeypatch.syspath_prepend(str(info.parent))


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def make_job(store, kind="counted", seed=7):
    return Job("a digest", seed, kind, {"command": "count"}, {}, {"seed": seed}, str(store.folder), "cpu")


def test_a_performer_that_a_package_offers_does_the_runs_of_its_kind_once(store):
    job, lines = make_job(store), []
    assert perform(job, lines.append).metrics == {"val_loss": 7.0}
    assert lines == [{"step": 1}]
    assert store.read_record(job.digest).metrics == {"val_loss": 7.0}
    described = read_json(store.run_folder(job.digest) / "run.json")
    assert (described["digest"], described["seed"]) == (job.digest, 7)
    assert described["specs"] == {"command": "count", "data": {}}
    assert perform(replace(job, kind="broken")).metrics == {"val_loss": 7.0}, "what is done is not done again"


def test_one_that_raises_leaves_a_record_with_the_line_that_raised(store):
    record = perform(make_job(store, seed=13))
    assert record == store.read_record(record.digest)
    assert record.status == "failed"
    assert record.error.splitlines()[0] == "RuntimeError: no thirteen (counting_arms.py:7 in count)"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("conted", "no performer of arms 'conted'; did you mean 'counted'?"),
        ("absent", "counting-arms offers 'absent' as counting_arms:absent: counting_arms has no function 'absent'"),
        ("broken", "counting-arms offers 'broken' as counting_arms.nothing:count: it cannot be imported"),
    ],
)
def test_a_kind_that_nothing_performs_is_a_failed_run_that_says_so(store, kind, sentence):
    record = perform(make_job(store, kind))
    assert record.status == "failed"
    assert record.error.startswith(f"StudyError: {sentence}")
