import json
import random
from pathlib import Path

import pytest

from paribus.design.metrics import VAL_LOSS, Metric
from paribus.design.specs import spec
from paribus.errors import JudgementError
from paribus.experiment.extra_runs import plan_extra_runs
from paribus.experiment.plan import Environment, identify_run, plan
from paribus.experiment.registering import register
from paribus.experiment.scheduler import Scheduler
from paribus.experiment.stored_evidence import forget_failures, read_evidence, read_registration
from paribus.judgement import decide_all
from paribus.judgement.tuned import Trial, Tuned, TunedArm
from paribus.lab.judging import judge
from paribus.store.records import Finding, Record
from paribus.store.store import Store
from toy_study import RECIPE, Part, make_study


class Bench:
    """A scheduler over a store whose records are written by hand instead of trained."""

    def __init__(self, folder, study, findings=()):
        self.store = Store.create(folder)
        self.plan = plan(study, Environment("data", "cpu", "2.13.0"))
        data = {"title": "t", "digest": "d"}
        self.registration = register(self.store, "toy", self.plan, data, "evaluation", findings)
        self.events = []
        evidence = forget_failures(self.store, read_evidence(self.store, self.registration.name))
        self.scheduler = Scheduler(self.store, self.plan, evidence, None, self.events.append)
        self.losses = {}

    def name(self, digest):
        run = self.scheduler.runs[digest][0]
        return run.arm, run.seed

    def take(self):
        job = self.scheduler.next_job()
        return job and self.name(job.digest)

    def finish(self, arm, seed, loss=None, status="done"):
        digest = self.plan.run(arm, seed).digest
        folder = Path(self.store.address) / "runs" / digest
        metrics = {"val_loss": loss} if status == "done" else {}
        evaluation = {"step": 10, "tokens": 1000, "loss": loss, "measured": {"training_seconds": 1.0}}
        record = Record(digest, seed, status, metrics, (evaluation,) * (status == "done"), error=None)
        self.store.write_record(record)
        line = {"step": 10, "loss": 1.0, "learning_rate": 0.0, "gradient_norm": 1.0, "clipped": False}
        (folder / "steps.jsonl").write_text(json.dumps(line) + "\n")
        self.scheduler.observe({"event": "finished", "digest": digest, "status": status})


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
    assert not bench.scheduler.wanted(bench.plan.run("baseline", 3).digest)
    assert not bench.scheduler.wanted(bench.plan.run("wide", 3).digest)


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
    assert judge(tmp_path / "plain", "toy").report == judge(tmp_path / "shuffled", "toy").report


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
    judged = judge(tmp_path / "s", "toy").report.to_json()
    assert judged["failed_runs"] == [{"arm": "wide", "seed": 0, "error": None}]
    invalid = [finding["message"] for finding in judged["findings"] if finding["severity"] == "invalid"]
    assert len(invalid) == 1  # that it failed, and not that its partner is missing
    assert "1 of 1 run of 'wide' failed" in invalid[0]


def test_a_failure_ahead_of_the_pairs_does_not_stop_those_before_it(tmp_path):
    bench = Bench(tmp_path / "s", make_study(max_seeds=5))
    bench.finish("wide", 3, status="failed")
    assert [bench.take() for _ in range(7)] == [(a, s) for s in range(3) for a in ("baseline", "wide")] + [None]
    for seed in range(3):
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
        bench.finish("wide", seed, 3.0 + 0.1 * seed + (-1) ** seed)
    assert bench.events[-1]["rows"][0]["verdict"] is None
    judged = judge(tmp_path / "s", "toy").report.to_json()
    assert [run["seed"] for run in judged["failed_runs"]] == [3]
    assert judged["treatments"]["wide"]["verdict"]["kind"] == "invalid"


def test_a_null_arm_that_is_the_baseline_shares_its_runs_and_starts_none_twice(tmp_path):
    study = make_study(treatments={"same": spec(Part), "wide": spec(Part, width=2)}, null=("same",))
    bench = Bench(tmp_path / "s", study)
    taken = [bench.take() for _ in range(6)]
    assert taken == [(arm, seed) for seed in range(3) for arm in ("baseline", "wide")]
    for seed in range(3):
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
    assert {row["treatment"]: row["verdict"] for row in bench.events[-1]["rows"]}["same"] == "equivalent"
    assert bench.scheduler.wanted(bench.plan.run("baseline", 3).digest)


def test_a_descriptive_treatment_runs_as_long_as_a_primary_one(tmp_path):
    study = make_study(
        treatments={"wide": spec(Part, width=2), "aside": spec(Part, width=3)}, primary=("wide",), max_seeds=4
    )
    bench = Bench(tmp_path / "s", study)
    for seed in range(3):
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
        bench.finish("wide", seed, 2.0 + 0.1 * seed + 0.001 * (seed % 2))
    assert [bench.take() for _ in range(4)] == [("aside", 0), ("aside", 1), ("aside", 2), None]


def test_a_descriptive_treatment_is_described_on_the_pairs_of_the_primary_ones_alone(tmp_path):
    study = make_study(treatments={"wide": spec(Part, width=2), "aside": spec(Part, width=3)}, primary=("wide",))
    bench = Bench(tmp_path / "s", study)
    for seed in range(6):  # another study left more runs than this one asks for
        bench.finish("aside", seed, 3.5 + 0.1 * seed + 0.01 * (seed % 3))
        bench.finish("baseline", seed, 3.0 + 0.1 * seed)
    for seed in range(3):
        bench.finish("wide", seed, 2.0 + 0.1 * seed + 0.001 * (seed % 2))
    judged = judge(tmp_path / "s", "toy").report.to_json()
    assert judged["treatments"]["aside"]["comparison"]["seeds"] == [0, 1, 2]
    assert judged["treatments"]["aside"]["verdict"] is None
    assert judged["arms"]["baseline"]["seeds"] == [0, 1, 2]
    assert "this arm alone" in judged["treatments"]["aside"]["description"]


def register_in(folder, name="toy", **changes):
    made = plan(make_study(**changes), Environment("data", "cpu", "2.13.0"))
    return register(Store.create(folder), name, made, {"title": "t", "digest": "d"}, "evaluation")


def test_the_same_study_is_the_same_registration(tmp_path):
    assert register_in(tmp_path / "s") == register_in(tmp_path / "s")


@pytest.mark.parametrize(
    "changes", [{"margin": 0.2}, {"max_seeds": 12}, {"question": "is  it"}, {"question": "Something else?"}]
)
def test_judging_the_same_runs_again_is_a_second_attempt_and_a_doubt(tmp_path, changes):
    register_in(tmp_path / "s")
    again = register_in(tmp_path / "s", **changes)
    assert (again.name, again.attempt, again.judged_before) == ("toy-2", 2, ("toy",))
    found = Store.open(tmp_path / "s").read_findings("toy-2")
    assert [(f.check, f.severity) for f in found] == [("repeated look", "doubt")]


def test_runs_that_were_judged_and_are_now_described_are_no_doubt(tmp_path):
    register_in(tmp_path / "s")  # treats with "wide"
    arms = {"wide": spec(Part, width=2), "wider": spec(Part, width=3)}
    again = register_in(tmp_path / "s", question="Something else?", treatments=arms, primary=("wider",))
    assert (again.attempt, again.judged_before) == (1, ())
    judged = register_in(tmp_path / "s", question="Something else?", treatments=arms)
    assert judged.judged_before == ("toy", "toy-2")


def test_one_treatment_against_two_baselines_is_two_comparisons(tmp_path):
    register_in(tmp_path / "s")
    other = register_in(tmp_path / "s", question="Something else?", baseline=spec(Part, width=9))
    assert (other.attempt, other.judged_before) == (1, ())


def _tuned(plan, seeds):
    """What a tuning reports that tried the runs of both arms on ``seeds``."""
    arms = {}
    for name, arm in plan.study.arms.items():
        digests = tuple(identify_run(plan, name, arm, seed).digest for seed in seeds)
        arms[name] = TunedArm((Trial({}, digests, (3.0,) * len(seeds), 3.0),), {}, ())
    return Tuned({}, None, len(seeds), seeds[0], 0, seeds, 0, None, arms)


@pytest.mark.parametrize(("seeds", "seen"), [((3,), ("toy",)), ((99,), ())])
def test_a_pair_that_an_earlier_study_was_tuned_with_is_no_first_look(seeds, seen, tmp_path):
    bench = Bench(tmp_path / "s", make_study(question="Another?", first_seed=50))
    later = plan(make_study(), bench.plan.environment)
    data = {"title": "t", "digest": "d"}
    folder = tmp_path / "s" / "studies" / "toy"
    (folder / "registration.json").unlink()
    register(bench.store, "toy", bench.plan, data, "evaluation", tuning=_tuned(later, seeds))
    again = register(bench.store, "later", later, data, "evaluation")
    assert (again.attempt, again.judged_before) == (1 + len(seen), seen)


def test_a_pair_that_was_run_at_another_rate_is_no_first_look(tmp_path):
    first = plan(make_study(), Environment("data", "cpu", "2.13.0"))
    store, data = Store.create(tmp_path / "s"), {"title": "t", "digest": "d"}
    register(store, "toy", first, data, "evaluation", extra_runs=plan_extra_runs(first))
    faster = RECIPE.replace(optimizer=RECIPE.optimizer.replace("lr", 0.2))  # twice the rate of the toy
    again = register(
        store, "fast", plan(make_study(question="Fast?", training=faster), first.environment), data, "evaluation"
    )
    assert again.judged_before == ("toy",)


def first(logits, targets):
    return logits.logsumexp(-1)


def second(logits, targets):
    return logits.amax(-1)


OWN = Metric("first", "1", measure=first), Metric("second", "1", measure=second)


@pytest.mark.parametrize(("before", "after"), [(OWN[0], VAL_LOSS), (VAL_LOSS, OWN[0]), OWN])
def test_a_pair_that_was_run_at_another_rate_for_another_metric_is_no_first_look(before, after, tmp_path):
    store, data = Store.create(tmp_path / "s"), {"title": "t", "digest": "d"}
    probed = plan(make_study(metric=before), Environment("data", "cpu", "2.13.0"))
    register(store, "toy", probed, data, "evaluation", extra_runs=plan_extra_runs(probed))
    faster = RECIPE.replace(optimizer=RECIPE.optimizer.replace("lr", 0.2))  # twice the rate of the toy
    later = plan(make_study(question="Fast?", training=faster, metric=after), probed.environment)
    assert register(store, "fast", later, data, "evaluation").judged_before == ("toy",)


def test_without_a_metric_of_ones_own_a_trial_is_registered_as_ever():
    for metric, more in ((VAL_LOSS, set()), (OWN[0], {"unmeasured"})):
        made = plan(make_study(metric=metric), Environment("data", "cpu", "2.13.0"))
        assert (
            plan_extra_runs(made)["rates"][0].registered.to_json().keys() == {"seed", "digest", "arm", "factor"} | more
        )


def test_fresh_seeds_are_a_second_attempt_without_a_doubt(tmp_path):
    register_in(tmp_path / "s")
    again = register_in(tmp_path / "s", first_seed=100)
    assert (again.attempt, again.judged_before) == (2, ())
    assert Store.open(tmp_path / "s").read_findings("toy-2") == []


@pytest.mark.parametrize("edit", [('"attempt": 1', '"attempt": 9'), ('"margin": 0.1', '"margin": 0.5')])
def test_a_registration_that_was_edited_is_refused(tmp_path, edit):
    register_in(tmp_path / "s")
    path = tmp_path / "s" / "studies" / "toy" / "registration.json"
    assert edit[0] in path.read_text()
    path.write_text(path.read_text().replace(*edit))
    with pytest.raises(JudgementError, match="was changed after it was written"):
        read_registration(Store.open(tmp_path / "s"), "toy")


def test_what_an_earlier_call_saw_fail_is_tried_again(tmp_path):
    bench = Bench(tmp_path / "s", make_study())
    bench.finish("baseline", 0, 3.0)
    bench.finish("wide", 0, status="failed")
    evidence = forget_failures(bench.store, read_evidence(bench.store, "toy"))
    again = Scheduler(bench.store, bench.plan, evidence, None, lambda event: None)
    assert bench.name(again.next_job().digest) == ("wide", 0)


def test_every_record_of_a_large_study_is_read_once(tmp_path, monkeypatch):
    treatments = {f"width {i}": spec(Part, width=i) for i in range(2, 21)}
    bench = Bench(tmp_path / "s", make_study(treatments=treatments, margin=1e-6, max_seeds=20, give_up=0.0))
    reads, read, losses = [], Store.read_record, random.Random(0)
    monkeypatch.setattr(Store, "read_record", lambda store, digest: reads.append(digest) or read(store, digest))
    while run := bench.take():
        bench.finish(*run, losses.gauss(3.0, 0.1))
    assert len(reads) == len(set(reads)) == 20 * 20
    assert bench.scheduler.judged.is_complete
    assert bench.scheduler.judged.report == decide_all(read_evidence(bench.store, "toy")).report
