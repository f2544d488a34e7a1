"""Executors that are not ours: passed as objects, or offered by packages under a name."""

import email
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

import paribus as pb
from paribus.errors import StudyError
from paribus.execution.executors import find_executor
from paribus.execution.inline import InThisProcess
from paribus.execution.processes import LocalWorkers
from paribus.experiment.executor import Executor, Resources
from paribus.experiment.stored_evidence import read_evidence
from paribus.store.store import Store

RESOURCES = Resources("cpu", n_runs=4, workers=1)
PACKAGE = """
from paribus.execution.performing import perform
from paribus.experiment.job import Job

NUMBER = 3


class Elsewhere:
    sees_main = False

    def __init__(self, resources):
        self.resources = resources

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def execute(self, next_job, observe, wanted):
        while job := next_job():
            observe({"event": "started", "digest": job.digest})
            record = perform(Job.from_text(job.to_text()))
            observe({"event": "finished", "digest": job.digest, "status": record.status})


class Asleep(Elsewhere):
    def __enter__(self):
        raise OSError("no cluster answers")


def make_nothing(resources):
    return resources


def refuse(resources):
    raise RuntimeError("no account there")
"""


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


def run(study, folder, executor):
    """The result, and of each arm and seed what cannot depend on who ran it."""
    result = pb.run(study, folder, executor=executor, observe=lambda event: None)
    records = read_evidence(Store.open(folder), result.name).records
    return result, {(arm, seed): (r.metrics, r.pairing) for arm, of in records.items() for seed, r in of.items()}


@pytest.fixture(scope="module")
def inline(home, tmp_path_factory, study):
    return run(study, tmp_path_factory.mktemp("inline") / "store", "inline")


def test_the_executor_of_the_documentation_runs_a_study_to_the_verdict_of_this_process(inline, tmp_path, study):
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    names = {}
    exec(re.search(r"```py\n(.*?)```", page, re.S)[1], names)
    result, records = run(study, tmp_path / "store", names["OtherProcess"]())
    assert len(records) == 4
    assert (result.verdicts, records) == (inline[0].verdicts, inline[1])


def test_our_own_are_found_by_name():
    assert isinstance(find_executor("inline", RESOURCES), InThisProcess)
    assert isinstance(workers := find_executor("local", RESOURCES), LocalWorkers)
    assert len(workers.slots) == 1
    assert all(isinstance(find_executor(name, RESOURCES), Executor) for name in ("inline", "local"))


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a package that offers what lies at ``value`` under ``name`` in a group."""

    def install(name, value, package="far_away"):
        site = tmp_path / package
        site.mkdir()
        (site / f"{package}.py").write_text(PACKAGE)
        info = site / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            f"[paribus.executors]\n{name} = {package}:{value}\n".replace(":\n", "\n")
        )
        monkeypatch.syspath_prepend(str(site))

    return install


def test_one_that_a_package_offers_is_found_by_its_name_and_made_for_the_resources(offer):
    offer("far", "Elsewhere")
    assert find_executor("far", RESOURCES).resources == RESOURCES


def test_a_study_is_run_by_the_name_of_an_executor_that_a_package_offers(offer, inline, tmp_path, study):
    offer("far", "Elsewhere")
    result, records = run(study, tmp_path / "store", "far")
    assert (result.verdicts, records) == (inline[0].verdicts, inline[1])


def test_an_executor_that_does_not_start_says_so_in_one_sentence(offer, home, tmp_path, study):
    offer("far", "Asleep")
    with pytest.raises(StudyError, match=r"^executor Asleep does not start: OSError: no cluster answers$"):
        run(study, tmp_path / "store", "far")


def test_classes_of_main_are_not_sent_where_they_cannot_be_found(offer, home, tmp_path, study, monkeypatch):
    offer("far", "Elsewhere")
    monkeypatch.setattr(torch.nn.LayerNorm, "__module__", "__main__")
    with pytest.raises(StudyError, match="executor 'far' finds no classes of __main__"):
        run(study, tmp_path / "store", "far")


def test_a_process_that_an_executor_spawns_reads_the_command_line_again_and_does_not_follow_it():
    assert import_module("paribus.__main__")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("make_nothing", r"far_away offers 'far' as far_away:make_nothing: it makes Resources\(.*not an Executor"),
        ("refuse", "far_away offers 'far' as far_away:refuse: it cannot be made: RuntimeError: no account there"),
        ("NUMBER", "far_away has no function 'NUMBER'"),
        ("Nowhere", "far_away has no function 'Nowhere'"),
        ("", "far_away is a module; name a function"),
    ],
)
def test_an_offer_that_makes_no_executor_is_named_with_its_package(offer, value, message):
    offer("far", value)
    with pytest.raises(StudyError, match=message):
        find_executor("far", RESOURCES)


def test_a_name_that_two_packages_offer_means_neither(offer):
    offer("far", "Elsewhere")
    offer("far", "Elsewhere", package="further")
    with pytest.raises(StudyError, match="executor 'far' is offered by more than one package: far_away, further"):
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
