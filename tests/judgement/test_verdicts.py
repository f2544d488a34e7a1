import json
import math

import numpy as np
import pytest
from comparing import compare_each, wanted_pairs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS, Metric
from paribus.errors import JudgementError
from paribus.judgement.comparison import compare
from paribus.judgement.looks import Ending, predict_verdict, replay
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import KINDS, decide, describe_difference, suspend
from paribus.store.records import Finding

C3 = 9.03  # c_n and e_n at n = 3, VERDICT.md
E3 = 5.96


def pairs_of(differences):
    return [Pair(i, 3.0, 3.0 + d) for i, d in enumerate(differences)]


def judge(differences, margin=0.1, findings=(), metric=VAL_LOSS, **rule):
    return decide(compare("arm", pairs_of(differences), Rule(margin=margin, **rule), metric), findings)


def around(mean, half_width, critical):
    """Three differences with this mean whose half width is critical sd / sqrt(3)."""
    sd = half_width * math.sqrt(3) / critical
    return [mean - sd, mean, mean + sd]


@pytest.mark.parametrize(
    ("differences", "kind", "qualifier"),
    [
        (around(-0.5, 0.2, C3), "better", "by more than the margin"),
        (around(-0.5, 0.45, C3), "better", "size against the margin not settled"),
        (around(0.5, 0.2, C3), "worse", "by more than the margin"),
        (around(0.5, 0.45, C3), "worse", "size against the margin not settled"),
        (around(0.0, 0.09, E3), "equivalent", ""),
        (around(-0.05, 0.02, C3), "equivalent", "a real but negligible gain"),
        (around(0.05, 0.02, C3), "equivalent", "a real but negligible loss"),
    ],
)
def test_the_interval_decides(differences, kind, qualifier):
    verdict = judge(differences)
    assert (verdict.kind, verdict.qualifier) == (kind, qualifier)
    assert verdict.n_pairs == 3
    assert qualifier in verdict.sentence


def barring(arm, *kinds):
    return Finding("tuning", "doubt", "its best rate lies at the edge of what was tried", arm, bars=kinds)


@pytest.mark.parametrize("arm", ["arm", "baseline", None])
@pytest.mark.parametrize(("mean", "kind"), [(-0.5, "better"), (0.5, "worse")])
def test_a_kind_that_a_finding_bars_becomes_undecided_and_says_why_and_what_the_numbers_are(mean, kind, arm):
    verdict = judge(around(mean, 0.2, C3), findings=[barring(arm, "better", "worse")])
    assert verdict.kind == "undecided"
    assert f"although it would be {kind} by its numbers" in verdict.sentence
    assert verdict.reasons == ("its best rate lies at the edge of what was tried",)
    assert verdict.reasons[0] in verdict.sentence and verdict.reasons == verdict.doubts


@pytest.mark.parametrize(
    "finding", [barring("other", "better"), barring("arm", "worse"), barring("arm")], ids=["arm", "kind", "none"]
)
def test_another_arms_or_kinds_bar_leaves_the_verdict(finding):
    assert judge(around(-0.5, 0.2, C3), findings=[finding]).kind == "better"


def test_an_equivalence_stands_where_better_and_worse_are_barred():
    assert judge(around(0.0, 0.09, E3), findings=[barring("arm", "better", "worse")]).kind == "equivalent"


@pytest.mark.parametrize("differences", [around(0.0, 0.12, E3), around(-0.5, 0.52, C3), around(0.5, 0.52, C3)])
def test_an_interval_that_reaches_too_far_goes_on(differences):
    assert judge(differences) is None


def test_for_a_metric_where_higher_is_better_a_positive_difference_is_better():
    assert judge([0.5, 0.51, 0.49], metric=VAL_ACCURACY).kind == "better"
    assert judge([-0.5, -0.51, -0.49], metric=VAL_ACCURACY).kind == "worse"
    gain = judge(around(0.05, 0.02, C3), metric=VAL_ACCURACY)
    assert gain.qualifier == "a real but negligible gain"


def test_fewer_than_the_least_pairs_never_decide():
    assert judge([-5.0]) is None
    assert judge([-5.0, -5.1]) is None
    assert judge([0.0, 0.0]) is None


def test_one_run_per_arm_is_always_undecided():
    verdict = suspend(compare("arm", pairs_of([-5.0]), Rule(margin=0.1), VAL_LOSS))
    assert verdict.kind == "undecided"
    assert "1 pair" in verdict.sentence


def test_a_suspended_comparison_that_was_decided_keeps_its_verdict():
    found = compare("arm", pairs_of([-0.5, -0.51, -0.49]), Rule(margin=0.1), VAL_LOSS)
    assert suspend(found) == decide(found)


def test_bit_identical_arms_are_equivalent_even_with_no_margin():
    verdict = judge([0.0, 0.0, 0.0], margin=0)
    assert (verdict.kind, verdict.reasons) == ("equivalent", ("bit-identical",))


def test_with_no_margin_nothing_else_is_equivalent():
    assert judge([1e-9, -1e-9, 0.0], margin=0) is None


def test_the_same_difference_on_every_seed_is_invalid():
    pairs = [Pair(i, 3.0, 3.5) for i in range(3)]
    verdict = decide(compare("arm", pairs, Rule(margin=0.1), VAL_LOSS))
    assert (verdict.kind, verdict.reasons) == ("invalid", ("seeds have no effect",))


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_diverged_treatment_is_undecided_at_every_number_of_pairs(at):
    pairs = [*pairs_of([1.0, -1.0, 0.5][:at]), Pair(at, 3.0, None, treatment_status="diverged")]
    verdict = decide(compare("arm", pairs, Rule(margin=0.1), VAL_LOSS))
    assert (verdict.kind, verdict.reasons) == ("undecided", ("unstable",))
    assert "baseline diverged in 0 and the treatment in 1" in verdict.sentence
    assert verdict.n_pairs == at + 1


def test_a_value_that_is_not_finite_is_a_divergence():
    verdict = decide(compare("arm", [Pair(0, 3.0, math.inf)], Rule(margin=0.1), VAL_LOSS))
    assert verdict.reasons == ("unstable",)


def test_a_diverged_baseline_makes_every_live_treatment_invalid_and_no_decided_one():
    gone = Pair(3, None, 3.0, baseline_status="diverged")
    found = compare_each(
        {"live": [*pairs_of([1.0, -1.0, 0.5]), gone], "decided": [*pairs_of([-0.5, -0.51, -0.49]), gone]},
        Rule(margin=0.1, n_primary=2),
        VAL_LOSS,
    )
    assert decide(found["live"]).kind == "invalid"
    assert decide(found["live"]).reasons == ("baseline diverged",)
    assert decide(found["decided"]).kind == "better"


@pytest.mark.parametrize("arm", [None, "baseline", "arm"])
def test_an_invalid_finding_makes_the_verdict_invalid_whatever_the_numbers_say(arm):
    finding = Finding("causality", "invalid", "logits before t moved by 0.3", arm=arm)
    verdict = judge([-0.5, -0.51, -0.49], findings=[finding])
    assert verdict.kind == "invalid"
    assert verdict.reasons == ("logits before t moved by 0.3",)
    assert judge([-0.5], findings=[finding]).kind == "invalid"


def test_findings_about_another_arm_do_not_matter():
    assert judge([-0.5, -0.51, -0.49], findings=[Finding("causality", "invalid", "no", arm="other")]).kind == "better"


def test_doubts_and_notes_travel_with_the_verdict():
    findings = [
        Finding("schedule", "doubt", "loss still falls."),
        Finding("function", "note", "same function", arm="arm"),
    ]
    verdict = judge([-0.5, -0.51, -0.49], findings=findings)
    assert verdict.kind == "better"
    assert verdict.doubts == ("loss still falls",)
    assert "same function" in verdict.notes


def test_an_early_verdict_says_that_its_mean_is_biased():
    assert any("biased outward" in note for note in judge([-0.5, -0.51, -0.49]).notes)
    last = judge([-0.5, -0.51, -0.49], n_max=3)
    assert not any("biased" in note for note in last.notes)


def test_a_descriptive_treatment_has_a_difference_and_no_verdict():
    found = compare("arm", pairs_of([-0.5, -0.51, -0.49]), Rule(margin=0.1), VAL_LOSS, primary=False)
    with pytest.raises(JudgementError, match="descriptive"):
        decide(found)
    assert describe_difference(found).startswith(
        "validation loss lower by 0.500 nats/token (interval -0.552 to -0.448, 95 %"
    )


def test_the_sentence_has_the_number_its_unit_the_interval_and_the_pairs():
    verdict = judge([-0.5, -0.51, -0.49])
    assert verdict.sentence == (
        "arm is better than the baseline: validation loss lower by 0.500 nats/token (interval -0.552 to -0.448, 95 %, "
        "all looks and all arms; 3 pairs), by more than the margin of 0.1 nats/token."
    )


def test_giving_up_starts_with_the_fourth_pair_and_can_be_switched_off():
    hopeless = [1.0, -1.0, 1.05, -1.05, 1.0, -1.0]
    assert judge(hopeless[:3], margin=0.01) is None
    early = judge(hopeless[:4], margin=0.01)
    assert early.reasons == ("a verdict has become unlikely",)
    assert "4 pairs of at most 10" in early.sentence
    assert judge(hopeless, margin=0.01, give_up=0) is None


@pytest.mark.parametrize(("mean", "margin"), [(0.3, 0.5), (-0.6, 0.5), (0.0, 2.0), (1.0, 0.0)])
def test_the_predicted_chance_follows_its_formula(mean, margin):
    n, sd, last = 5, 1.0, 10
    tau = sd * math.sqrt((last - n) / (n * last))
    w, k = 3.13453 * sd / math.sqrt(last), margin - 2.63777 * sd / math.sqrt(last)  # c_10 and e_10, VERDICT.md
    F = stats.t(n - 1).cdf
    wanted = 1 - F((w - mean) / tau) + F((-w - mean) / tau)
    wanted += F((k - mean) / tau) - F((-k - mean) / tau) if k > 0 else 0
    found = predict_verdict(n, np.array([mean]), np.array([sd]), Rule(margin=margin))
    assert found[0] == pytest.approx(wanted, abs=2e-4)


def test_a_comparison_that_was_not_cut_is_refused():
    pairs = pairs_of([-0.5, -0.51, -0.49, -0.5])
    uncut = compare("arm", pairs, Rule(margin=0.1), VAL_LOSS, primary=False)
    object.__setattr__(uncut, "primary", True)
    with pytest.raises(JudgementError, match="stopped after 3 pairs"):
        decide(uncut)


def test_undecided_treatments_want_another_pair_and_decided_ones_retire():
    found = compare_each(
        {"decided": pairs_of([-0.5, -0.51, -0.49]), "live": pairs_of([1, -1, 0.5]), "told": pairs_of([1, 2])},
        Rule(margin=0.1, n_primary=2),
        VAL_LOSS,
        primary=("decided", "live"),
    )
    assert wanted_pairs(found) == {"decided": 3, "live": 4, "told": 4}
    stop = [Finding("leak", "invalid", "splits overlap")]
    assert wanted_pairs(found, stop) == {"decided": 3, "live": 3, "told": 2}


def test_the_first_pairs_are_wanted_together():
    found = compare_each({"new": []}, Rule(margin=0.1), VAL_LOSS)
    assert wanted_pairs(found) == {"new": 3}


def test_the_wanted_pairs_never_exceed_the_registration():
    d = [1.0, -1.0, 0.9, -0.9]
    for n in range(5):
        found = compare_each({"arm": pairs_of(d[:n])}, Rule(margin=0.01, n_max=4, give_up=0), VAL_LOSS)
        assert wanted_pairs(found)["arm"] == max(3, min(n + 1, 4))


def test_json_of_a_verdict_is_plain():
    for differences in ([-0.5, -0.51, -0.49], [0.0, 0.0, 0.0], [1.0, -1.0, 1.05, -1.05]):
        found = judge(differences, margin=0.01).to_json()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["kind"] in KINDS


numbers = st.floats(-3, 3).map(lambda x: round(x, 3))
SWAPPED = {Ending.BETTER: Ending.WORSE, Ending.WORSE: Ending.BETTER}


@settings(max_examples=150, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=10), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0.0, 0.1]))
def test_negating_the_differences_swaps_better_and_worse(d, margin, give_up):
    rule = Rule(margin=margin, give_up=give_up)
    d = np.array([d])
    (ending,), (stop,) = replay(d, rule)
    (mirrored,), (also,) = replay(-d, rule)
    assert (mirrored, also) == (SWAPPED.get(ending, ending), stop)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(numbers, min_size=1, max_size=10), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([2**-20, 0.5, 1024.0])
)
def test_scaling_differences_and_margin_alike_changes_nothing(d, margin, factor):
    d = np.array([d])
    first = replay(d, Rule(margin=margin))
    second = replay(factor * d, Rule(margin=factor * margin))
    assert [x.tolist() for x in first] == [x.tolist() for x in second]


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=10), st.lists(numbers, min_size=9, max_size=9))
def test_later_pairs_never_change_an_ending(d, more):
    rule = Rule(margin=0.3)
    (ending,), (stop,) = replay(np.array([d]), rule)
    assume(ending != Ending.OPEN)
    longer = np.array([(d + more)[:10]])
    assert [x.item() for x in replay(longer, rule)] == [ending, stop]


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=3, max_size=3))
def test_document_noise_never_turns_an_open_look_into_a_verdict(d):
    rule = Rule(margin=0.3)
    (narrow,), _ = replay(np.array([d]), rule)
    (wide,), _ = replay(np.array([d]), rule, 0.2)
    assert narrow != Ending.OPEN or wide == Ending.OPEN


def test_the_metric_of_the_user_is_named_in_the_sentence():
    verdict = judge([2.0, 2.1, 2.2], margin=0.5, metric=Metric("tokens_to_target", "million tokens"))
    assert "tokens to target higher by 2.10 million tokens" in verdict.sentence
