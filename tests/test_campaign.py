import json
import random

import pytest

from paribus.campaign import Campaign
from paribus.lab import judge
from paribus.records import Finding, Record, Store, write_json
from paribus.registration import register
from paribus.runs import Environment, plan
from paribus.specs import spec
from paribus.study import Study, Training


class Part:
    def __init__(self, width=1):
        pass


class Optimizer:
    def __init__(self, params, lr=0.1):
        pass


RECIPE = Training(tokens=1000, batch_tokens=100, seq_len=10, optimizer=spec(Optimizer), evaluations=1)


def make_study(**changes):
    fields = {
        "question": "Is it?",
        "baseline": spec(Part),
        "treatments": {"wide": spec(Part, width=2)},
        "data": spec(Part),
        "training": RECIPE,
        "margin": 0.1,
    }
    return Study(**{**fields, **changes})


class Bench:
    """A campaign over a store whose records are written by hand instead of trained."""

    def __init__(self, folder, study, findings=()):
        self.store = Store.create(folder)
        self.plan = plan(study, Environment("data", "cpu", "2.13.0"))
        self.registration = register(self.store, "toy", self.plan, {"title": "t", "digest": "d"}, "evaluation")
        write_json(self.store.study_folder("toy") / "findings.json", [f.to_json() for f in findings])
        self.events = []
        self.campaign = Campaign(self.store, self.plan, self.registration, None, findings, self.events.append)
        self.losses = {}

    def name(self, digest):
        run = self.campaign.runs[digest]
        return run.arm, run.seed

    def take(self):
        job = self.campaign.next_job()
        return job and self.name(job.digest)

    def finish(self, arm, seed, loss=None, status="done"):
        digest = self.plan.run(arm, seed).digest
        folder = self.store.run_folder(digest)
        metrics = {"val_loss": loss} if status == "done" else {}
        evaluation = {"step": 10, "tokens": 1000, "loss": loss, "measured": {"training_seconds": 1.0}}
        record = Record(digest, seed, status, metrics, (evaluation,) * (status == "done"), error=None)
        self.store.write_record(record)
        line = {"step": 10, "loss": 1.0, "learning_rate": 0.0, "gradient_norm": 1.0, "clipped": False}
        (folder / "steps.jsonl").write_text(json.dumps(line) + "\n")
        self.campaign.observe({"event": "finished", "digest": digest, "status": status})


def test_runs_come_pair_by_pair_and_no_run_is_handed_out_twice(tmp_path):
    bench = Bench(tmp_path / "s", make_study(max_seeds=3))
    taken = [bench.take() for _ in range(7)]
    assert taken == [(arm, seed) for seed in range(3) for arm in ("baseline", "wide")] + [None]


def test_a_verdict_ends_the_campaign_and_the_runs_ahead_of_it(tmp_path):
    bench = Bench(tmp_path / "s", make_study())
    for _ in range(8):
        bench.take()
    for seed in range(3):
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
        bench.finish("wide", seed, 2.0 + 0.1 * seed + 0.001 * (seed % 2))
    assert bench.events[-1]["rows"][0]["verdict"] == "better"
    assert bench.take() is None
    assert not bench.campaign.wanted(bench.plan.run("baseline", 3).digest)
    assert not bench.campaign.wanted(bench.plan.run("wide", 3).digest)


@pytest.mark.parametrize("order", range(5))
def test_runs_that_finish_in_any_order_and_beyond_the_verdict_change_nothing(tmp_path, order):
    """The judge reads the longest finished prefix; what lies ahead is kept and not read."""
    losses = {("baseline", seed): 3.0 + 0.1 * seed for seed in range(5)}
    losses |= {("wide", seed): 2.0 + 0.1 * seed + 0.001 * (seed % 2) for seed in range(5)}
    plain = Bench(tmp_path / "plain", make_study())
    for seed in range(3):
        for arm in ("baseline", "wide"):
            plain.finish(arm, seed, losses[arm, seed])
    shuffled = Bench(tmp_path / "shuffled", make_study())
    names = list(losses)
    random.Random(order).shuffle(names)
    names.remove(("wide", 4))  # a baseline run ahead without its partner
    for arm, seed in names:
        shuffled.finish(arm, seed, losses[arm, seed])
    assert judge(tmp_path / "plain", "toy") == judge(tmp_path / "shuffled", "toy")


def test_a_finding_that_invalidates_the_design_leaves_nothing_to_run(tmp_path):
    bench = Bench(tmp_path / "s", make_study(), [Finding("causality", "invalid", "it sees the future", arm="wide")])
    assert bench.take() is None
    assert bench.events[-1]["rows"][0]["verdict"] == "invalid"


def test_a_failed_treatment_stops_and_the_others_go_on(tmp_path):
    study = make_study(treatments={"wide": spec(Part, width=2), "wider": spec(Part, width=3)})
    bench = Bench(tmp_path / "s", study)
    bench.finish("baseline", 0, 3.0)
    bench.finish("wide", 0, status="failed")
    assert {bench.take()[0] for _ in range(6)} == {"baseline", "wider"}
    assert judge(tmp_path / "s", "toy")["failed_runs"] == [{"arm": "wide", "seed": 0, "error": None}]


def test_a_descriptive_treatment_runs_as_long_as_a_primary_one(tmp_path):
    study = make_study(
        treatments={"wide": spec(Part, width=2), "aside": spec(Part, width=3)}, primary=("wide",), max_seeds=4
    )
    bench = Bench(tmp_path / "s", study)
    for seed in range(3):
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
        bench.finish("wide", seed, 2.0 + 0.1 * seed + 0.001 * (seed % 2))
    assert [bench.take() for _ in range(4)] == [("aside", 0), ("aside", 1), ("aside", 2), None]


def test_what_an_earlier_call_saw_fail_is_tried_again(tmp_path):
    bench = Bench(tmp_path / "s", make_study())
    bench.finish("baseline", 0, 3.0)
    bench.finish("wide", 0, status="failed")
    again = Campaign(bench.store, bench.plan, bench.registration, None, [], lambda event: None)
    assert bench.name(again.next_job().digest) == ("wide", 0)
