import json

import pytest
from small_studies import make_study, register, the

from paribus.audits.after.integrity import find_unfounded_numbers
from paribus.design.specs import spec
from paribus.nn import RMSNorm, llama
from paribus.store.records import Record

STUDY = register(make_study(arm=llama(d_model=32, n_layers=2, n_heads=2, norm=spec(RMSNorm))))
STEPS = [
    {"step": 1, "loss": 5.0, "gradient_norm": 2.0, "clipped": True},
    {"step": 2, "loss": 4.0, "gradient_norm": 1.0, "clipped": False},
]


def make_record(seed=0, **changes):
    """A run of two steps of 96 tokens, whose numbers were worked out by hand."""
    metrics = {
        "initial_val_loss": 6.0,
        "val_loss": 3.0,
        "val_bits_per_byte": 4.5,
        "val_accuracy": 0.25,
        "val_perplexity": 20.085536923187668,  # exp(3)
        "val_loss_area": 4.0,  # (4.75 + 3.25) / 2: the means of the two halves
        "loss_reduction_per_epoch": 6.0,  # 3 nats in half a pass
        "epochs": 0.5,
        "train_loss": 4.5,
        "gradient_norm_mean": 1.5,
        "gradient_norm_max": 2.0,
        "clipping_frequency": 0.5,
        "steps": 2.0,
        "tokens": 192.0,
    }
    evaluations = (
        {"step": 0, "tokens": 0, "loss": 6.0, "bits_per_byte": 9.0, "accuracy": 0.0},
        {"step": 1, "tokens": 96, "loss": 3.5, "bits_per_byte": 5.0, "accuracy": 0.2},
        {"step": 2, "tokens": 192, "loss": 3.0, "bits_per_byte": 4.5, "accuracy": 0.25},
    )
    fields = {
        "metrics": {**metrics, **changes.pop("metrics", {})},
        "evaluations": evaluations,
        "documents": {"loss": [10.0 + seed, 20.0 - seed], "tokens": [4, 6]},
        "pairing": {"batches": f"b{seed}"},
        **changes,
    }
    return Record(f"d{seed}", seed, "done", **fields)


def audit(*records, steps=None):
    runs = dict(enumerate(records))
    return list(find_unfounded_numbers(STUDY, {"arm": runs}, lambda digest: STEPS if steps is None else steps))


def test_a_record_whose_numbers_follow_from_its_evidence_is_not_suspected():
    assert audit(make_record(0), make_record(1)) == []


def test_a_record_is_the_same_after_it_was_written_and_read():
    assert audit(Record.from_json(json.loads(json.dumps(make_record().to_json())))) == []


@pytest.mark.parametrize("key", [key for key in make_record().metrics if key != "epochs"])
def test_every_number_that_can_be_worked_out_is(key):
    found = the("evidence", audit(make_record(metrics={key: make_record().metrics[key] * (1 + 1e-6)})))
    assert (found.severity, found.arm) == ("invalid", "arm")
    assert {row["metric"] for row in found.evidence["records"]["0"]} == {key}


def test_rounding_is_let_pass():
    assert audit(make_record(metrics={"val_loss": 3.0 * (1 + 1e-12)})) == []


def test_the_loss_of_the_documents_is_the_one_that_was_scored():
    documents = {"loss": [10.0, 19.0], "tokens": [4, 6]}
    found = the("evidence", audit(make_record(documents=documents)))
    (row,) = found.evidence["records"]["0"]
    assert (row["metric"], row["source"], row["evidence"]) == ("val_loss", "the documents", pytest.approx(2.9))


def test_an_earlier_evaluation_that_was_taken_for_the_last_is_named():
    found = the("evidence", audit(make_record(metrics={"val_loss": 3.5})))
    assert "it is that of the evaluation at 96 tokens" in found.message


def make_record_that_was_scored_again(**metrics):
    """The curve of ``make_record``, of some of the held-out tokens; then 2.5 nats on all of them."""
    last = {"step": 2, "tokens": 192, "loss": 2.5, "bits_per_byte": 4.0, "accuracy": 0.3}
    scored = {
        "val_loss": 2.5,
        "val_bits_per_byte": 4.0,
        "val_accuracy": 0.3,
        "val_perplexity": 12.182493960703473,  # exp(2.5)
    }
    return make_record(
        evaluations=(*make_record().evaluations, last),
        documents={"loss": [10.0, 15.0], "tokens": [4, 6]},
        metrics={**scored, **metrics},
    )


def test_a_final_loss_of_more_tokens_than_the_curve_is_not_suspected():
    assert audit(make_record_that_was_scored_again()) == []


@pytest.mark.parametrize(
    ("key", "said", "evidence"),
    [
        ("loss_reduction_per_epoch", 7.0, 6.0),  # (6 - 2.5) / 0.5, down to the final loss and not to the curve's end
        ("val_bits_per_byte", 4.5, 4.0),  # of the curve's end
    ],
)
def test_the_end_of_the_curve_and_the_final_score_do_not_stand_for_each_other(key, said, evidence):
    found = the("evidence", audit(make_record_that_was_scored_again(**{key: said})))
    (row,) = found.evidence["records"]["0"]
    assert (row["metric"], row["record"], row["evidence"]) == (key, said, pytest.approx(evidence))


def test_a_loss_of_the_curves_end_that_was_taken_for_the_final_one_is_named():
    found = the("evidence", audit(make_record_that_was_scored_again(val_loss=3.0)))
    assert "it is that of the evaluation at 192 tokens" in found.message


def test_steps_that_are_missing_are_found():
    found = the("evidence", audit(make_record(), steps=STEPS[:1]))
    assert {row["metric"] for row in found.evidence["records"]["0"]} >= {"steps", "tokens", "train_loss"}


def test_a_metric_that_became_null_is_no_match_for_a_number():
    assert the("evidence", audit(make_record(metrics={"val_loss": None}))).severity == "invalid"


def test_two_numbers_that_are_both_missing_agree():
    bare = tuple({**e, "bits_per_byte": None} for e in make_record().evaluations)
    assert audit(make_record(metrics={"val_bits_per_byte": None}, evaluations=bare)) == []


def test_what_a_record_does_not_have_is_not_held_against_it():
    assert audit(Record("d", 0, "done", metrics={"val_loss": 3.0})) == []


def test_one_run_under_two_seeds_is_found():
    found = the("evidence", audit(make_record(0), make_record(0)))
    assert found.evidence["copies"] == [[0, 1]]


def test_a_record_of_another_seed_is_found():
    assert the("evidence", audit(make_record(3))).evidence["misplaced"] == {"0": 3}
