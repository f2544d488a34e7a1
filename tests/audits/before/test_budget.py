import math

import pytest
from small_studies import BASELINE, TRAINING, make_study, register, the

from paribus.audits.after.training_course import find_price_in_tokens
from paribus.audits.before.sizes import find_budget
from paribus.design.metrics import VAL_ACCURACY, Metric
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.nn import RMSNorm
from paribus.store.records import Record

STUDY = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)), margin=0.03)
SIZES = {"baseline": 4_800.0, "arm": 4_000.0}


@pytest.mark.parametrize(("corpus_tokens", "passes", "severity"), [(96_000, 0.1, "note"), (479, 20.04, "doubt")])
def test_tokens_per_parameter_and_passes_are_told_once(corpus_tokens, passes, severity):
    (found,) = find_budget(STUDY, corpus_tokens, SIZES)
    assert (found.check, found.severity, found.arm) == ("budget", severity, None)
    # 9,600 tokens.
    assert found.evidence["tokens_per_active_parameter"] == {"baseline": 2.0, "arm": 2.4}
    assert found.evidence["passes"]["baseline"] == pytest.approx(passes, rel=1e-3)


def test_the_arm_that_sees_most_tokens_stands_for_the_study():
    study = make_study(arm=Arm(BASELINE, TRAINING.replace(tokens=96_000)))
    (found,) = find_budget(study, 9_600, SIZES)
    assert "96,000 training tokens are 24 per active parameter of 'arm' and 10 passes" in found.message


def price(gap, study=STUDY, n=3, scatter=0.0, slope=0.1, last=3.0, key="val_loss", curve="loss", final=()):
    """The finding on a treatment ``gap`` above a baseline whose curve falls by ``slope`` per log token.

    ``final`` are evaluations that were scored after the curve.
    """
    middle = last + slope * math.log(2)
    evaluations = tuple({"tokens": t, curve: x} for t, x in [(0, last + 3 * slope), (4_800, middle), (9_600, last)])
    evaluations += tuple(final)

    def record(seed, value):
        return Record("d", seed, "done", metrics={key: value}, evaluations=evaluations)

    records = {
        "baseline": {seed: record(seed, last) for seed in range(n)},
        "arm": {seed: record(seed, last + gap + scatter * (seed - (n - 1) / 2)) for seed in range(n)},
    }
    return list(find_price_in_tokens(register(study), records))


@pytest.mark.parametrize("gap", [-0.05, 0.05])
def test_a_difference_is_priced_by_the_slope_of_the_baselines_curve(gap):
    found = the("price in tokens", price(gap))
    # 0.05 at 0.1 per log token: half a unit of the log.
    assert found.evidence["more_tokens"] == pytest.approx(math.exp(0.5) - 1)
    assert "as much as about 65 % more tokens buy the baseline" in found.message
    assert found.message.startswith("'arm' is ahead of the baseline" if gap < 0 else "the baseline is ahead of 'arm'")


@pytest.mark.parametrize("loss", [2.5, 4.0])
def test_the_slope_is_that_of_the_curve_and_not_the_way_to_the_final_score(loss):
    final = [{"tokens": 9_600, "loss": loss}]
    evidence = the("price in tokens", price(0.05, final=final)).evidence
    assert evidence["slope_per_log_token"] == pytest.approx(0.1)
    assert price(0.05, slope=0.0, final=final) == []


def test_above_twice_the_tokens_no_number_is_given():
    found = the("price in tokens", price(0.08))  # exp(0.8) is 2.2
    assert found.evidence["more_tokens"] is None and "more than twice the tokens" in found.message


@pytest.mark.parametrize(
    "few",
    [
        {"gap": 0.02},  # below the margin
        {"gap": 0.05, "scatter": 0.05},  # standard error 0.05 / sqrt(3) = 0.029
        {"gap": 0.05, "n": 1},
        {"gap": 0.05, "slope": 0.0},
        {"gap": 0.05, "slope": -0.1},
    ],
)
def test_what_is_no_clear_difference_or_no_falling_curve_has_no_price(few):
    assert price(**few) == []


def test_a_treatment_without_a_verdict_has_no_price():
    both = {"arm": BASELINE.replace("*norm", spec(RMSNorm)), "other": BASELINE.replace("dropout", 0.1)}
    assert price(0.05, make_study(treatments=both, primary=("other",))) == []


def test_a_metric_without_a_curve_has_no_price():
    assert price(0.05, STUDY.replace(metric=Metric("train_loss", "nats/token")), key="train_loss") == []


def test_for_an_accuracy_higher_is_ahead():
    study = STUDY.replace(metric=VAL_ACCURACY)
    found = the("price in tokens", price(0.05, study, slope=-0.1, key="val_accuracy", curve="accuracy"))
    assert found.message.startswith("'arm' is ahead of the baseline by 0.05 share of tokens")
