"""Executors that are not ours: passed as objects, or offered by packages under a name."""

import email
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import paribus as pb
from paribus.errors import StudyError
from paribus.execution.executors import find_executor
from paribus.execution.inline import InThisProcess
from paribus.execution.performing import find_performer
from paribus.execution.processes import LocalWorkers
from paribus.experiment.executor import Executor, Resources
from paribus.experiment.stored_evidence import read_evidence
from paribus.store.store import Store

RESOURCES = Resources("cpu", n_runs=4, workers=1)
DO_ONE = (
    "import sys; from paribus.execution.performing import perform; from paribus.experiment.job import Job; "
    "perform(Job.from_text(sys.stdin.read()))"
)
PACKAGE = """
from contextlib import nullcontext

NUMBER = 3


class Elsewhere(nullcontext):
    sees_main = False

    def __init__(self, resources):
        self.resources = resources

    def __enter__(self):
        return self

    def execute(self, next_job, observe, wanted):
        pass


def make_nothing(resources):
    return resources
"""


class ProcessPerJob:
    """What another package would write: a fresh process for every job, which is sent one line of text."""

    sees_main = False

    def __enter__(self):
        self.n_done = 0
        return self

    def __exit__(self, *error):
        pass

    def execute(self, next_job, observe, wanted):
        while job := next_job():
            observe({"event": "started", "digest": job.digest})
            subprocess.run([sys.executable, "-c", DO_ONE], input=job.to_text(), text=True, check=True)
            observe({"event": "finished", "digest": job.digest, "status": "done"})
            self.n_done += 1


@pytest.fixture(scope="module")
def study():
    baseline = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)
    return pb.Study(
        question="Is an executor of somebody else's as good?",
        baseline=baseline,
        treatments={"rms": baseline.replace("final_norm", pb.spec(torch.nn.LayerNorm))},
        data=pb.spec(pb.data.Text, source=str(Path(email.__file__).parent), tokenizer=pb.spec(pb.data.Bytes)),
        training=pb.Training(
            tokens=512,
            batch_tokens=64,
            seq_len=16,
            evaluations=1,
            evaluation_tokens=256,
            optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
        ),
        margin=0.5,
        min_seeds=2,
        max_seeds=2,
        extra_rates=(),
    )


def test_an_executor_that_is_passed_runs_a_study_to_the_verdict_of_this_process(home, tmp_path, study):
    executor, silent = ProcessPerJob(), lambda event: None
    theirs = pb.run(study, tmp_path / "theirs", executor=executor, observe=silent)
    ours = pb.run(study, tmp_path / "ours", executor="inline", observe=silent)
    assert executor.n_done == 4
    assert theirs.verdicts == ours.verdicts
    records = [read_evidence(Store.open(tmp_path / name), theirs.name).records for name in ("theirs", "ours")]
    for arm, of_arm in records[0].items():
        for seed, record in of_arm.items():
            assert (record.metrics, record.pairing) == (records[1][arm][seed].metrics, records[1][arm][seed].pairing)


def test_our_own_are_found_by_name():
    assert isinstance(find_executor("inline", RESOURCES), InThisProcess)
    assert isinstance(workers := find_executor("local", RESOURCES), LocalWorkers)
    assert len(workers.slots) == 1
    assert all(isinstance(find_executor(name, RESOURCES), Executor) for name in ("inline", "local"))


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a package that offers what lies at ``value`` under ``name`` in a group."""

    def install(name, value, package="far_away", group="paribus.executors"):
        site = tmp_path / package
        site.mkdir()
        (site / f"{package}.py").write_text(PACKAGE)
        info = site / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}:{value}\n")
        monkeypatch.syspath_prepend(str(site))

    return install


def test_one_that_a_package_offers_is_found_by_its_name_and_made_for_the_resources(offer):
    offer("far", "Elsewhere")
    assert find_executor("far", RESOURCES).resources == RESOURCES


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("make_nothing", r"far_away offers 'far' as far_away:make_nothing: it makes Resources\(.*not an Executor"),
        ("NUMBER", "far_away has no function 'NUMBER' that makes an Executor"),
        ("Nowhere", "far_away has no function 'Nowhere' that makes an Executor"),
    ],
)
def test_an_offer_that_makes_no_executor_is_named_with_its_package(offer, value, message):
    offer("far", value)
    with pytest.raises(StudyError, match=message):
        find_executor("far", RESOURCES)


def test_a_name_that_two_packages_offer_means_neither(offer):
    offer("far", "Elsewhere")
    offer("far", "Elsewhere", package="further")
    with pytest.raises(StudyError, match="executor 'far' is offered by far_away, further: pass the one that is meant"):
        find_executor("far", RESOURCES)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("lokal", "no executor 'lokal'; did you mean 'local'"),
        (print, r"executor must be a name or an Executor, got .*; it has sees_main, execute\(next_job"),
    ],
)
def test_what_is_no_executor_is_refused_with_the_nearest_right_thing(executor, message):
    with pytest.raises(StudyError, match=message):
        find_executor(executor, RESOURCES)


def test_a_kind_of_arm_that_nothing_performs_is_refused(offer):
    offer("remote", "make_nothing", group="paribus.performers")
    assert find_performer("remote")(1) == 1
    with pytest.raises(StudyError, match="nothing does the runs of an arm of kind 'trainde'; did you mean 'trained'"):
        find_performer("trainde")
