"""Which runs stand beside the pairs, and what is read of them."""

from types import SimpleNamespace

import pytest

from paribus.design.specs import spec
from paribus.design.study import BASELINE
from paribus.design.tuning import Tuning
from paribus.errors import StudyError
from paribus.experiment.extra_runs import plan_extra_runs, run_extra_runs
from paribus.experiment.plan import Environment, plan
from paribus.experiment.registering import register
from paribus.experiment.stored_evidence import read_evidence
from paribus.store.records import Record
from paribus.store.store import Store
from toy_study import RECIPE, Part, make_study

HERE = Environment("data", "cpu", "2.13.0")


class NoRate:
    def __init__(self, params, step_size=0.1):
        pass


def planned(**changes):
    made = plan(make_study(**changes), HERE)
    return made, plan_extra_runs(made)


def test_the_extra_rates_are_one_pair_at_half_and_double_the_rate_on_the_first_seed():
    made, trials = planned()
    rows = [(t.about["arm"], t.about["factor"], t.arm.training.optimizer["lr"], t.run.seed) for t in trials["rates"]]
    assert rows == [(BASELINE, 0.5, 0.05, 0), ("wide", 0.5, 0.05, 0), (BASELINE, 2.0, 0.2, 0), ("wide", 2.0, 0.2, 0)]
    assert not {t.run.digest for t in trials["rates"]} & {run.digest for run in made}


@pytest.mark.parametrize(
    "changes",
    [
        {"extra_rates": ()},
        {"tuning": Tuning()},
        {"tuning": None, "training": RECIPE.replace(optimizer=spec(NoRate))},
    ],
    ids=["switched off", "tuned", "an optimizer without a rate"],
)
def test_there_are_no_extra_rates_where_they_have_nothing_to_say(changes):
    _, trials = planned(**changes)
    assert trials["rates"] == ()


def test_a_nudged_run_is_another_run_than_the_baselines_on_the_same_seed():
    made, trials = planned(max_seeds=3)
    assert [t.run.seed for t in trials["null"]] == [0, 1, 2]
    assert not {t.run.digest for t in trials["null"]} & {made.run(BASELINE, seed).digest for seed in made.seeds}
    assert trials["null"][0].run.identity == {**made.run(BASELINE, 0).identity, "nudged": True}


def test_the_width_response_has_a_narrower_and_a_wider_baseline_on_the_first_seeds():
    _, trials = planned(baseline=spec(Part, width=64), width_response="width", min_seeds=2)
    rows = [(t.about["width"], t.arm.model["width"], t.run.seed) for t in trials["widths"]]
    assert rows == [(48, 48, 0), (48, 48, 1), (80, 80, 0), (80, 80, 1)]


@pytest.mark.parametrize(("pattern", "said"), [("wdth", "did you mean 'width'"), ("inner", "whole number")])
def test_a_width_that_the_baseline_does_not_have_is_named(pattern, said):
    with pytest.raises(StudyError, match=said):
        make_study(baseline=spec(Part, width=64), width_response=pattern)


def perform(ran, store):
    """An executor that writes a finished record for each job."""

    def execute(next_job, observe, wanted):
        while (job := next_job()) is not None:
            ran.append(job)
            metrics = {"val_loss": 3.0, "parameters": 10.0}
            store.write_record(Record(job.digest, job.seed, "done", metrics))
            observe({"event": "finished", "digest": job.digest, "status": "done"})

    return SimpleNamespace(execute=execute)


def test_trials_that_are_there_are_not_run_again_and_those_that_failed_are(tmp_path):
    store = Store.create(tmp_path / "s")
    made, trials = planned()
    first, second, *rest = trials["rates"]
    store.write_record(Record(first.run.digest, 0, "done", {"val_loss": 1.0}))
    store.write_record(Record(second.run.digest, 0, "failed", error="odd"))
    ran, events = [], []
    records = run_extra_runs(
        trials["rates"],
        store=store,
        plan=made,
        study_file=None,
        executor=perform(ran, store),
        observe=events.append,
    )
    assert [job.digest for job in ran] == [second.run.digest, *(t.run.digest for t in rest)]
    assert records[first.run.digest].metrics["val_loss"] == 1.0
    assert {record.status for record in records.values()} == {"done"}
    assert events[0]["arm"] == "wide at 0.5 x the rate" and events[0]["steps"] == 10


def test_the_job_of_a_nudged_run_says_so(tmp_path):
    store, ran = Store.create(tmp_path / "s"), []
    made, trials = planned()
    both = [*trials["null"][:1], *trials["rates"][:1]]
    run_extra_runs(
        both, store=store, plan=made, study_file=None, executor=perform(ran, store), observe=lambda event: None
    )
    assert [job.nudged for job in ran] == [True, False]


def test_what_is_read_are_the_registered_trials_that_are_finished(tmp_path):
    store = Store.create(tmp_path / "s")
    made, trials = planned(max_seeds=3)
    register(store, "toy", made, {"title": "t", "digest": "d"}, "e", extra_runs=trials)
    assert read_evidence(store, "toy").extra_runs == {}
    store.write_record(Record(trials["rates"][1].run.digest, 0, "done", {"val_loss": 2.5, "parameters": 7.0}))
    store.write_record(Record(trials["null"][0].run.digest, 0, "diverged"))
    found = read_evidence(store, "toy").extra_runs
    assert {digest: record.status for digest, record in found.items()} == {
        trials["rates"][1].run.digest: "done",
        trials["null"][0].run.digest: "diverged",
    }
