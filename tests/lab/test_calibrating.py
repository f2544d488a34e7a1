"""The baseline against itself: what is run, what is kept, what a study then knows of its noise."""

import json
import random
import statistics
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from paribus.cli.commands import commands
from paribus.data import Bytes, Text
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import BASELINE, Study
from paribus.errors import StoreError
from paribus.experiment.extra_runs import plan_extra_runs
from paribus.experiment.plan import Environment, plan
from paribus.experiment.registering import register
from paribus.experiment.stored_evidence import read_evidence
from paribus.judgement import decide_all
from paribus.lab import checking
from paribus.lab import running as lab
from paribus.lab.calibrating import calibrate
from paribus.nn import LayerNorm, RMSNorm, llama
from paribus.store.files import read_json
from paribus.store.records import Record
from paribus.store.store import Store
from toy_study import make_study as make_toy

torch.set_num_threads(1)
WIDTH = llama(d_model=16, n_layers=1, n_heads=2, norm=spec(LayerNorm))


@pytest.fixture(scope="module")
def study(home, tmp_path_factory):
    """A real study of 12 steps."""
    path = tmp_path_factory.mktemp("text") / "words.jsonl"
    words = random.Random(0)
    lines = [" ".join(words.choices("abcdefghijklmnop", k=150)) for _ in range(30)]
    path.write_text("".join(f'{{"text": "{line}"}}\n' for line in lines))
    return Study(
        question="Is it the same?",
        baseline=WIDTH,
        treatments={"rms": WIDTH.replace("*norm", spec(RMSNorm, eps=1e-5))},
        data=spec(Text, source=str(path), tokenizer=spec(Bytes)),
        training=Training(
            tokens=12 * 64,
            batch_tokens=64,
            seq_len=16,
            evaluations=1,
            evaluation_tokens=256,
            optimizer=spec(torch.optim.AdamW, lr=0.01),
        ),
        margin=0.05,
        max_seeds=3,
        extra_rates=(),
    )


@pytest.fixture(scope="module")
def calibrated(study, tmp_path_factory):
    store = tmp_path_factory.mktemp("nulls") / "store"
    return store, calibrate(study, store, executor="inline")


def test_the_sds_are_those_of_the_runs_that_lie_in_the_store(calibrated):
    store, found = calibrated
    values = {}
    for folder in (store / "runs").iterdir():
        identity, record = read_json(folder / "run.json"), read_json(folder / "result.json")
        values[record["seed"], identity.get("nudged", False)] = record["metrics"]["val_loss"]
    plain, nudged = ([values[seed, side] for seed in range(3)] for side in (False, True))
    null = found.null
    assert null.seed_sd == pytest.approx(statistics.stdev(plain))
    assert null.floor_sd == pytest.approx(statistics.stdev(b - a for a, b in zip(plain, nudged, strict=True)))
    assert 0 < null.floor_sd < null.seed_sd


def test_a_second_call_trains_nothing_and_says_the_same(calibrated, study):
    store, found = calibrated
    events = []
    again = calibrate(study, store, executor="inline", observe=events.append)
    assert again.to_json() == found.to_json() == read_json(found.file)
    assert {event["event"] for event in events} == {"message"}


def test_the_study_then_takes_its_baseline_runs_from_there_and_its_report_has_the_floor(calibrated, study):
    store, found = calibrated
    started = []

    def observe(event):
        if event["event"] == "started":
            started.append((event["arm"], event["seed"]))

    report = lab.run(study, store, executor="inline", observe=observe).report
    assert started and {arm for arm, _ in started} == {"rms"}
    assert report.null == found.null


def test_two_finished_pairs_are_too_few_for_a_floor_and_a_diverged_one_does_not_count(tmp_path):
    store = Store.create(tmp_path / "s")
    made = plan(make_toy(max_seeds=5), Environment("data", "cpu", "2.13.0"))
    trials = plan_extra_runs(made)
    register(store, "toy", made, {"title": "t", "digest": "d"}, "e", extra_runs=trials)
    for seed, status in enumerate(["done", "diverged", "done", "done"]):
        assert decide_all(read_evidence(store, "toy")).null is None
        value = {"val_loss": 3.0 + 0.1 * seed} if status == "done" else {}
        store.write_record(Record(made.run(BASELINE, seed).digest, seed, "done", {"val_loss": 3.0}))
        store.write_record(Record(trials["null"][seed].run.digest, seed, status, value))
    assert decide_all(read_evidence(store, "toy")).null.n_seeds == 3


def test_a_report_of_a_store_without_a_registered_study_says_so(tmp_path):
    Store.create(tmp_path)
    with pytest.raises(StoreError, match=f"{tmp_path} holds no registered study yet"):
        CliRunner().invoke(commands, ["report", str(tmp_path)], standalone_mode=False, catch_exceptions=False)


def test_json_of_several_studies_asks_for_one_of_their_names(tmp_path):
    store = Store.create(tmp_path)
    for name, margin in (("one", 0.1), ("two", 0.2)):
        made = plan(make_toy(margin=margin), Environment("data", "cpu", "2.13.0"))
        register(store, name, made, {"title": "t", "digest": "d"}, "e")

    def report(*arguments):
        called = ["report", str(tmp_path), *arguments]
        return CliRunner().invoke(commands, called, standalone_mode=False, catch_exceptions=False)

    with pytest.raises(StoreError, match="holds 2 studies; name one for JSON: --study one, --study two"):
        report("--format", "json")
    assert json.loads(report("--format", "json", "--study", "two").output)["name"] == "two"
    assert [report(*one).output.count("registration digest") for one in ((), ("--study", "one"))] == [2, 1]


def test_a_plan_counts_no_runs_at_other_rates_where_an_optimizer_has_no_rate():
    class HasNoRate:
        def __init__(self, params, pace=0.1):
            pass

    toy = make_toy()
    costs = {name: SimpleNamespace(flops={"training_flops_per_token": 1.0}) for name in toy.arms}
    bare = toy.replace(training=toy.training.replace(optimizer=spec(HasNoRate)))
    assert checking.Checked("toy", toy, {}, costs, ()).plan.extra_rate_runs == 4
    assert checking.Checked("toy", bare, {}, costs, ()).plan.extra_rate_runs == 0
