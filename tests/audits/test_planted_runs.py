import json
import subprocess
import sys

import pytest
import torch
from small_studies import BASELINE, TRAINING, audit_runs, make_study, of, the

from paribus.audits.after.outcome_audit import AFTER
from paribus.design.metrics import VAL_ACCURACY, Metric
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import LayerNorm, RMSNorm
from paribus.store.records import Record
from paribus.training import Constant, Cosine, WarmupStableDecay

STUDY = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)))
WEIGHTS = {"embedding.weight": "e", "blocks.0.mixer.q.weight": "q", "blocks.0.mixer_norm.weight": "n"}


def make_record(arm, seed, **changes):
    """A flawless run."""
    curve = [(0, 6.0), (2400, 3.5), (4800, 3.1), (7200, 3.01), (9600, 3.0)]
    pairing = {
        "initial_weights": {name: f"{digest}{seed}" for name, digest in WEIGHTS.items()},
        "batches": f"b{seed}",
        "evaluation": "v",
        "packages": {"torch": "2.13.0"},
        "device": "cpu",
        **changes.pop("pairing", {}),
    }
    metrics = {"clipping_frequency": 0.2, "loss_spikes": 0.0, **changes.pop("metrics", {})}
    evaluations = tuple({"tokens": tokens, "loss": loss, "accuracy": 1 / loss} for tokens, loss in curve)
    fields = {"status": "done", "evaluations": evaluations, "metrics": metrics, "pairing": pairing, **changes}
    return Record(f"{arm}-{seed}", seed, **fields)


def make_records(seeds=(0, 1, 2)):
    return {arm: {seed: make_record(arm, seed) for seed in seeds} for arm in ("baseline", "arm")}


def make_steps(study, records):
    """The lines of ``steps.jsonl`` of every run, as its recipe asks."""
    steps = {}
    for arm, runs in records.items():
        recipe = study.arms[arm].training
        schedule = recipe.schedule.cls(**dict(recipe.schedule.arguments)) if recipe.schedule else Cosine()
        rates = [0.01 * schedule(step, recipe.steps) for step in range(recipe.steps)]
        lines = [{"step": step + 1, "learning_rate": rate} for step, rate in enumerate(rates)]
        steps.update({record.digest: list(lines) for record in runs.values()})
    return steps


def audit(records, study=STUDY, steps=None):
    return audit_runs(study, records, steps or make_steps(study, records))


def test_flawless_runs_are_not_suspected():
    assert audit(make_records()) == ()


def test_steps_may_come_from_a_function_that_reads_them():
    records = make_records()
    assert audit(records, steps=make_steps(STUDY, records).__getitem__) == ()


def test_tensors_that_start_differently_outside_the_changed_sites_are_doubted():
    records = make_records()
    other = {**records["arm"][1].pairing["initial_weights"], "blocks.0.mixer.q.weight": "x", "embedding.weight": "y"}
    records["arm"][1] = make_record("arm", 1, pairing={"initial_weights": other})
    found = the("initial weights", audit(records))
    assert (found.severity, found.arm, found.site) == ("doubt", "arm", "embedding")
    # The norm is a changed site: two of two.
    assert (found.evidence["differing"], found.evidence["shared"], found.evidence["seeds"]) == (2, 2, [1])


def test_tensors_of_a_changed_site_may_start_differently():
    records = make_records()
    for seed in records["arm"]:
        other = {**records["arm"][seed].pairing["initial_weights"], "blocks.0.mixer_norm.weight": "ones"}
        records["arm"][seed] = make_record("arm", seed, pairing={"initial_weights": other})
    assert audit(records) == ()


def test_a_changed_argument_excuses_the_tensors_of_its_own_site_alone():
    study = make_study(arm=BASELINE.replace("blocks.0.mixer.n_kv_heads", 1))
    records = make_records()
    other = dict.fromkeys(WEIGHTS, "x")
    records["arm"][0] = make_record("arm", 0, pairing={"initial_weights": other})
    found = the("initial weights", audit(records, study))
    assert found.evidence["tensors"] == ["embedding.weight", "blocks.0.mixer_norm.weight"]


def test_other_batches_make_the_comparison_invalid():
    records = make_records()
    records["arm"][2] = make_record("arm", 2, pairing={"batches": "other"})
    found = the("batches", audit(records))
    assert (found.severity, found.arm, found.evidence["seeds"]) == ("invalid", "arm", [2])


def test_other_batches_that_the_recipes_ask_for_are_noted():
    study = make_study(arm=Arm(BASELINE, TRAINING.replace(batch_tokens=192)))
    records = make_records()
    records["arm"] = {seed: make_record("arm", seed, pairing={"batches": "other"}) for seed in (0, 1, 2)}
    found = the("batches", audit(records, study))
    assert (found.severity, found.evidence["recipe"]) == ("note", ["batch_tokens"])


def test_other_held_out_tokens_make_the_comparison_invalid():
    records = make_records()
    records["baseline"][0] = make_record("baseline", 0, pairing={"evaluation": "other"})
    assert the("held-out tokens", audit(records)).severity == "invalid"


@pytest.mark.parametrize(
    ("key", "value"), [("packages", {"torch": "2.12.0"}), ("device", "cuda"), ("code", "0123456789abcdef")]
)
def test_another_environment_is_doubted(key, value):
    records = make_records()
    records["arm"][0] = make_record("arm", 0, pairing={key: value})
    found = the("environment", audit(records))
    assert found.severity == "doubt"
    assert found.evidence["treatment"] == value


@pytest.mark.parametrize("arm", ["baseline", "arm"])
def test_a_failed_run_makes_the_comparison_invalid_with_its_reason(arm):
    records = make_records()
    records[arm][1] = Record("f", 1, "failed", error="RuntimeError: shapes do not fit\n  File x")
    found = the("seeds", audit(records, steps=make_steps(STUDY, make_records())))
    assert (found.severity, found.arm) == ("invalid", arm)
    assert found.message.endswith("1 of 3 runs of " + repr(arm) + " failed; seed 1: RuntimeError: shapes do not fit")


def test_a_failed_run_is_told_once_and_is_neither_missing_nor_without_its_partner():
    records = make_records()
    records["arm"][4] = Record("f", 4, "failed", error="RuntimeError: no\nTraceback (most recent call last):\n  File x")
    found = the("seeds", audit(records, steps=make_steps(STUDY, make_records())))
    assert found.message == "1 of 4 runs of 'arm' failed; seed 4: RuntimeError: no"


def test_an_arm_of_which_every_run_failed_is_told_once():
    records = {**make_records(), "arm": {0: Record("f", 0, "failed", error="RuntimeError: no")}}
    assert the("seeds", audit(records, steps=make_steps(STUDY, make_records()))).evidence["failed"] == {
        "0": "RuntimeError: no"
    }


def test_a_seed_left_out_is_found_beside_a_failed_run():
    records = make_records((0, 1, 2))
    del records["arm"][0]
    records["arm"][1] = Record("f", 1, "failed", error="RuntimeError: no")
    failed, missing = of("seeds", audit(records, steps=make_steps(STUDY, make_records())))
    assert "failed" in failed.evidence
    assert missing.evidence == {"missing": [0], "without_baseline": [], "before_first": []}


def test_a_diverged_run_is_noted():
    records = make_records()
    records["arm"][1] = Record("d", 1, "diverged", error="loss nan at step 7")
    found = the("seeds", audit(records, steps=make_steps(STUDY, make_records())))
    assert (found.severity, found.evidence["diverged"]) == ("note", [1])
    assert found.message.endswith("diverged (seed 1)")


def test_a_seed_left_out_makes_the_comparison_invalid():
    records = make_records()
    del records["arm"][1]
    found = the("seeds", audit(records))
    assert (found.severity, found.evidence["missing"]) == ("invalid", [1])


def test_a_run_without_its_baseline_makes_the_comparison_invalid():
    records = make_records()
    del records["baseline"][2]
    found = the("seeds", audit(records))
    assert (found.severity, found.evidence["without_baseline"]) == ("invalid", [2])


def test_seeds_of_before_the_first_one_make_the_comparison_invalid():
    study = STUDY.replace(first_seed=1)
    found = the("seeds", audit(make_records(), study))
    assert (found.severity, found.evidence["before_first"]) == ("invalid", [0])


def test_a_treatment_that_stopped_earlier_than_the_baseline_is_complete():
    records = make_records()
    del records["arm"][2]
    assert audit(records) == ()


def test_an_arm_without_runs_is_noted():
    assert the("seeds", audit({"baseline": make_records()["baseline"]})).severity == "note"


def test_a_run_that_stopped_before_its_last_step_is_doubted():
    records = make_records()
    steps = make_steps(STUDY, records)
    steps["arm-1"] = steps["arm-1"][:90]
    found = the("schedule", audit(records, steps=steps))
    assert (found.severity, found.arm) == ("doubt", "arm")
    assert found.evidence == {"planned": 100, "steps": {"1": 90}}


def test_a_schedule_counted_in_the_wrong_steps_is_doubted():
    records = make_records()
    steps = make_steps(STUDY, records)
    slow = Cosine()  # counted in micro-steps, five to a step, and moved once a step
    steps["arm-0"] = [{"learning_rate": 0.01 * slow(step, 500)} for step in range(100)]
    found = the("schedule", audit(records, steps=steps))
    assert found.severity == "doubt"
    assert found.evidence["last_over_peak"]["0"] > 0.9 and found.evidence["schedule_says"] < 0.01


@pytest.mark.parametrize(
    ("schedule", "severities"),
    [
        (None, []),
        (spec(WarmupStableDecay, floor=0.1), []),
        (spec(Constant), []),
        (spec(Cosine, floor=0.3), []),  # told before training, by "planned schedule"
    ],
)
def test_a_schedule_is_held_to_its_own_end(schedule, severities):
    study = STUDY.replace(training=TRAINING.replace(schedule=schedule))
    found = of("schedule", audit(make_records(), study))
    assert [f.severity for f in found if f.arm == "arm"] == severities


class Stays:
    """A schedule of a user's that never decays."""

    def __call__(self, step, steps):
        return 0.9 if step else 1.0


def test_a_schedule_of_the_users_that_does_not_decay_is_noted_with_where_it_ends():
    study = STUDY.replace(training=TRAINING.replace(schedule=spec(Stays)))
    found = of("schedule", audit(make_records(), study))
    assert [f.severity for f in found] == ["note", "note"]
    assert "0.90 of its peak" in found[0].message


def test_a_loss_that_still_falls_by_more_than_the_margin_is_noted_once():
    found = the("still falling", audit(make_records(), STUDY.replace(margin=0.001)))
    assert (found.severity, found.arm) == ("note", None)
    # From 3.1 at 4,800 tokens to 3.0 at twice as many: 0.1 / ln 2 per log token, and ln 1.1 further is 0.01375.
    assert found.evidence["gain_in_10_percent_more_tokens"]["arm"] == pytest.approx(0.013750, rel=1e-4)
    assert "10 % more tokens would lower the loss by about 0.014 nats/token, 14 margins" in found.message


def test_for_an_accuracy_rising_is_what_falling_is_for_a_loss():
    study = STUDY.replace(metric=VAL_ACCURACY, margin=0.0001)
    found = the("still falling", audit(make_records(), study))
    assert found.evidence["gain_in_10_percent_more_tokens"]["baseline"] == pytest.approx(
        (1 / 3 - 1 / 3.1) * 0.137504, rel=1e-4
    )
    assert "would raise the accuracy" in found.message


def test_the_flat_end_of_a_decayed_schedule_does_not_hide_that_the_loss_still_falls():
    records = make_records()
    flat = tuple({"tokens": t, "loss": x} for t, x in [(0, 6.0), (4800, 3.4), (9500, 3.0), (9600, 3.0)])
    records["arm"] = {seed: make_record("arm", seed, evaluations=flat) for seed in (0, 1, 2)}
    gains = the("still falling", audit(records)).evidence["gain_in_10_percent_more_tokens"]
    assert gains["arm"] == pytest.approx(0.4 * 0.137504, rel=1e-4)


@pytest.mark.parametrize("loss", [2.0, 4.0])
def test_a_final_score_apart_from_the_curve_does_not_bend_it(loss):
    alone, beside = make_records(), make_records()
    for arm, runs in alone.items():
        last = {"tokens": 9600, "loss": loss}
        beside[arm] = {s: make_record(arm, s, evaluations=(*r.evaluations, last)) for s, r in runs.items()}
    study = STUDY.replace(margin=0.001)
    expected, found = the("still falling", audit(alone, study)), the("still falling", audit(beside, study))
    assert found.evidence == expected.evidence


def test_a_curve_without_a_middle_is_not_drawn_on():
    records = make_records()
    ends = tuple({"tokens": t, "loss": x} for t, x in [(0, 6.0), (9600, 3.0)])
    for arm in records:
        records[arm] = {seed: make_record(arm, seed, evaluations=ends) for seed in (0, 1, 2)}
    assert audit(records, STUDY.replace(margin=0.001)) == ()


def test_a_metric_that_has_no_curve_says_nothing_about_its_slope():
    assert audit(make_records(), STUDY.replace(metric=Metric("train_loss", "nats/token"), margin=0.0)) == ()


@pytest.mark.parametrize(("frequency", "is_set_beside"), [(0.40, True), (0.50, False)])
def test_clipping_at_nearly_every_step_is_set_beside_the_baselines_where_that_is_far_less(frequency, is_set_beside):
    records = make_records()
    for arm, share in (("baseline", frequency), ("arm", 0.95)):
        records[arm] = {seed: make_record(arm, seed, metrics={"clipping_frequency": share}) for seed in (0, 1, 2)}
    found = the("clipping", audit(records))
    assert (found.severity, found.arm) == ("note", "arm")
    assert ("the baseline's in 40%" in found.message) == is_set_beside


def test_an_arm_that_is_clipped_far_less_than_a_saturated_baseline_is_noted_too():
    records = make_records()
    for arm, share in (("baseline", 1.0), ("arm", 0.1)):
        records[arm] = {seed: make_record(arm, seed, metrics={"clipping_frequency": share}) for seed in (0, 1, 2)}
    assert [finding.arm for finding in of("clipping", audit(records))] == ["baseline", "arm"]


def test_under_another_clip_of_its_own_an_arm_is_not_set_beside_the_baseline():
    study = make_study(arm=Arm(BASELINE, TRAINING.replace(clip=0.01)))
    records = make_records()
    records["arm"] = {seed: make_record("arm", seed, metrics={"clipping_frequency": 1.0}) for seed in (0, 1, 2)}
    assert "the baseline's" not in the("clipping", audit(records, study)).message


def test_spikes_are_noted_per_arm():
    records = make_records()
    records["arm"] = {seed: make_record("arm", seed, metrics={"loss_spikes": 2.0}) for seed in (0, 1, 2)}
    found = the("loss spikes", audit(records))
    assert (found.severity, found.arm) == ("note", "arm")


def test_records_are_audited_without_torch_and_without_the_users_classes():
    study = make_study(arm=BASELINE.replace("*norm", spec(LayerNorm, eps=1e-3))).to_json()
    study["arms"]["arm"]["model"]["class"] = "gone_module:Gone"
    records = make_records()
    data = {
        "study": study,
        "records": {arm: {seed: record.to_json() for seed, record in runs.items()} for arm, runs in records.items()},
        "steps": make_steps(STUDY, records),
    }
    code = """
import json, sys
from paribus.audits import audit_records
from paribus.audits.after.outcome_audit import AFTER
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Record
data = json.load(sys.stdin)
records = {arm: {int(seed): Record.from_json(r) for seed, r in runs.items()} for arm, runs in data["records"].items()}
found = audit_records(RegisteredStudy.from_json(data["study"]), records, data["steps"])
print(len(AFTER), [f.check for f in found], "torch" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(data), capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [str(len(AFTER)), "[]", "False"]
    assert "torch" in sys.modules and torch.get_num_threads() == 1
