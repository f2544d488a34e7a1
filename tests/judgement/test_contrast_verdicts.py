"""Contrasts judged: their numbers by hand, their words, their error rate on simulated nulls."""

import math

import numpy as np
import pytest
from comparing import compare_each, wanted_pairs

from paribus.design.contrasts import Contrast
from paribus.design.factorials import factorial
from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.design.specs import spec
from paribus.errors import JudgementError
from paribus.judgement import Pair, Rule, compare, decide, describe_difference, suspend
from paribus.judgement.looks import Ending, replay
from paribus.store.records import Finding, Record
from toy_study import RECIPE, Part

ARMS = ("baseline", "A", "B", "A + B")
EFFECT = Contrast(dict(zip(ARMS, (-0.5, 0.5, -0.5, 0.5), strict=True)), ("A",))
INTERACTION = Contrast(dict(zip(ARMS, (0.5, -0.5, -0.5, 0.5), strict=True)), ("A", "B"))
OWN = Contrast({"B": -1.0, "A": 1.0})
RULE = Rule(margin=0.05)


class Model:
    def __init__(self, a=1, b=1, c=1):
        pass


def record(seed, loss, status="done", documents=None, metric="val_loss"):
    return Record("d", seed, status, {metric: loss} if status == "done" else {}, documents=documents or {})


def pairs_of(contrast, table, metric=VAL_LOSS):
    """A pair per row of ``table``: the losses of ``ARMS``, None where a run diverged."""
    pairs = []
    for seed, row in enumerate(table):
        records = {
            arm: record(seed, loss, "diverged" if loss is None else "done", metric=metric.key)
            for arm, loss in zip(ARMS, row, strict=True)
        }
        pairs.append(Pair.of_contrast(records, contrast, metric))
    return pairs


def judge(contrast, table, rule=RULE, metric=VAL_LOSS, findings=(), name="it"):
    comparison = compare(name, pairs_of(contrast, table, metric), rule, metric, contrast=contrast)
    return decide(comparison, findings)


def table_of(effects, sd=0.0, n=10):
    """Losses of ``ARMS`` that differ from 4 + seed/10 by ``effects`` and a little noise."""
    noise = np.random.default_rng(3).standard_normal((n, len(ARMS))) * (sd or 0.001)
    return [[4 + seed / 10 + e + x for e, x in zip(effects, row, strict=True)] for seed, row in enumerate(noise)]


def test_a_main_effect_is_the_mean_with_minus_the_mean_without():
    (pair,) = pairs_of(EFFECT, [(4.0, 4.5, 3.0, 3.1)])
    assert (pair.treatment, pair.baseline) == (pytest.approx((4.5 + 3.1) / 2), pytest.approx((4.0 + 3.0) / 2))
    assert pair.difference == pytest.approx(0.3)


def test_an_interaction_is_half_the_difference_of_the_effects():
    (pair,) = pairs_of(INTERACTION, [(4.0, 4.5, 3.0, 3.1)])
    assert pair.difference == pytest.approx(((3.1 - 3.0) - (4.5 - 4.0)) / 2)


def test_losses_of_documents_are_weighed_as_the_means_are():
    documents = {
        arm: {"tokens": [10, 30], "loss": [10 * a, 30 * b]}
        for arm, a, b in zip(ARMS, (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 9.0), strict=True)
    }
    records = {arm: record(0, 4.0, documents=documents[arm]) for arm in ARMS}
    pair = Pair.of_contrast(records, INTERACTION, VAL_LOSS)
    assert pair.treatment_documents - pair.baseline_documents == pytest.approx([0.0, (9 - 7 - 6 + 5) / 2])
    assert list(pair.weights) == [10, 30]
    documents["B"]["tokens"] = [20, 20]
    with pytest.raises(JudgementError, match="different evaluation documents"):
        Pair.of_contrast(records, INTERACTION, VAL_LOSS)


@pytest.mark.parametrize(
    ("contrast", "effects", "kind", "said"),
    [
        (EFFECT, (0, 0.3, 0, 0.3), "worse", "The main effect of A is for the worse: validation loss higher by 0.3"),
        (EFFECT, (0, -0.3, 0, -0.3), "better", "The main effect of A is for the better: validation loss lower by 0.3"),
        (EFFECT, (0, 0, 0.7, 0.7), "equivalent", "The main effect of A is equivalent to zero: validation loss"),
        (INTERACTION, (0, 0, 0, 0.6), "worse", "A and B together do worse than their separate effects add up to: +0.3"),
        (INTERACTION, (0, -0.3, -0.3, -1.2), "better", "A and B together do better than their separate effects add"),
        (INTERACTION, (0, 0.3, 0.5, 0.8), "equivalent", "The interaction of A and B is equivalent to zero: "),
        (OWN, (0, 0.3, 0, 9), "worse", "The contrast 'it' is for the worse: +0.3"),
    ],
)
def test_the_sentence_says_what_the_sign_means(contrast, effects, kind, said):
    verdict = judge(contrast, table_of(effects))
    assert verdict.kind == kind
    assert said in verdict.sentence
    assert "all looks and all verdicts; 3 seeds)" in verdict.sentence


def test_where_higher_is_better_a_positive_contrast_is_for_the_better():
    verdict = judge(INTERACTION, table_of((0, 0, 0, 0.6)), metric=VAL_ACCURACY)
    assert verdict.kind == "better"
    assert "A and B together do better" in verdict.sentence


def test_a_note_says_what_an_interaction_is():
    notes = judge(INTERACTION, table_of((0, 0, 0, 0.6))).notes
    assert any("half the difference between the effect of A with B and without B" in note for note in notes)


def test_equal_arms_have_no_interaction_to_the_bit():
    table = [(4.1 + seed / 7, 3.3 + seed / 9, 4.1 + seed / 7, 3.3 + seed / 9) for seed in range(3)]
    verdict = judge(INTERACTION, table)
    assert (verdict.kind, verdict.reasons) == ("equivalent", ("bit-identical",))
    assert verdict.sentence == "The interaction of A and B is equivalent to zero: it is exactly 0 in all 3 seeds."


@pytest.mark.parametrize("third", [1 / 3, 0.3333333333])
def test_equal_arms_are_equal_to_the_bit_whatever_their_weights_round_to(third):
    contrast, rule = Contrast({"baseline": -1.0, "A": third, "B": third, "A + B": third}), Rule(margin=0.0)
    losses = np.random.default_rng(5).uniform(3, 4, 10).tolist()
    verdict = judge(contrast, [[loss] * 4 for loss in losses], rule)
    assert (verdict.kind, verdict.reasons) == ("equivalent", ("bit-identical",))
    documents = {"tokens": [10, 30], "loss": [0.1, 0.7]}
    pair = Pair.of_contrast({arm: record(0, 4.0, documents=documents) for arm in ARMS}, contrast, VAL_LOSS)
    assert list(pair.treatment_documents - pair.baseline_documents) == [0.0, 0.0]


def test_a_plain_contrast_says_its_weights():
    assert "The contrast is -1 x 'B' +1 x 'A'." in judge(OWN, table_of((0, 0.3, 0, 9))).notes


def test_a_diverged_arm_makes_it_undecided_and_a_diverged_baseline_invalid():
    table = table_of((0, 0.3, 0, 0.3), n=3)
    table[1][3] = None
    verdict = judge(EFFECT, table)
    assert (verdict.kind, verdict.reasons) == ("undecided", ("unstable",))
    assert "(of 2 seeds, diverged: A + B in 1)" in verdict.sentence
    table[1][0] = None
    verdict = judge(EFFECT, table)
    assert (verdict.kind, verdict.reasons) == ("invalid", ("baseline diverged",))
    assert "diverged: baseline in 1, A + B in 1" in verdict.sentence
    described = describe_difference(compare("it", pairs_of(EFFECT, table), RULE, VAL_LOSS, contrast=EFFECT))
    assert described == "runs diverged: baseline in 1, A + B in 1"


@pytest.mark.parametrize(("arm", "concerns"), [("A + B", True), ("baseline", True), (None, True), ("C", False)])
@pytest.mark.parametrize("contrast", [EFFECT, INTERACTION])
def test_findings_about_an_arm_reach_every_contrast_that_weighs_it(contrast, arm, concerns):
    table = table_of((0, 0.3, 0, 0.3))
    doubt, invalid = (Finding("check", severity, "so it is", arm=arm) for severity in ("doubt", "invalid"))
    assert bool(judge(contrast, table, findings=[doubt]).doubts) == concerns
    assert (judge(contrast, table, findings=[invalid]).kind == "invalid") == concerns


def test_an_arm_of_no_weight_is_no_concern_of_a_contrast():
    found = Finding("check", "invalid", "so it is", arm="A + B")
    assert judge(OWN, table_of((0, 0.3, 0, 0.3)), findings=[found]).kind == "worse"


def test_contrasts_and_treatments_share_the_error_rate():
    table = table_of((0, 0.3, 0, 0.3))
    pairs = {"effect of A": pairs_of(EFFECT, table), "A:B": pairs_of(INTERACTION, table)}
    contrasts = {"effect of A": EFFECT, "A:B": INTERACTION}
    found = compare_each(pairs, Rule(margin=0.05, n_primary=2), VAL_LOSS, contrasts=contrasts)
    assert [c.contrast for c in found.values()] == [EFFECT, INTERACTION]
    assert found["A:B"].arms == ARMS
    assert wanted_pairs(found) == {"effect of A": 3, "A:B": 3}


def test_an_unfinished_contrast_is_undecided_and_counts_seeds():
    comparison = compare("it", pairs_of(EFFECT, table_of((0, 0.3, 0, 0.3), n=2)), RULE, VAL_LOSS, contrast=EFFECT)
    verdict = suspend(comparison, (), "not finished")
    assert verdict.sentence == (
        "The main effect of A is undecided: not finished after 2 seeds of at least 3 and at most 10."
    )


EXPERIMENTS = 4_000
NOISE = np.random.default_rng(17).standard_normal((8, EXPERIMENTS, 10))


def columns(k, interactions):
    """Weights of the full design as ``factorial`` registers them, a row per contrast."""
    factors = {name: {name: 2} for name in "abc"[:k]}
    study = factorial(
        question="?", baseline=spec(Model), data=spec(Part), training=RECIPE, margin=0.1, factors=factors,
        interactions=interactions,
    )  # fmt: skip
    return np.array([[contrast.weights[arm] for arm in study.arms] for contrast in study.contrasts.values()])


@pytest.mark.parametrize(("k", "interactions", "n_contrasts"), [(2, 2, 3), (3, 1, 3), (3, 3, 7)])
def test_all_contrasts_together_are_wrong_at_most_five_percent_of_the_time(k, interactions, n_contrasts):
    weights = columns(k, interactions)
    assert len(weights) == n_contrasts
    values = np.tensordot(weights, NOISE[: 2**k], axes=1)  # (contrasts, experiments, seeds)
    rule = Rule(margin=0, n_primary=n_contrasts, give_up=0)
    wrong = [np.isin(replay(of_one, rule)[0], (Ending.BETTER, Ending.WORSE)) for of_one in values]
    rate, three_se = np.any(wrong, axis=0).mean(), 3 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)
    assert 0.03 < rate <= 0.05 + three_se


def test_additive_effects_are_found_and_no_interaction_is():
    effects = np.array([0, 3.0, -2.0, 1.0])[:, None, None]  # of nothing, A, B and both: 3 - 2 = 1
    main_a, main_b, both = np.tensordot(columns(2, 2), NOISE[:4] + effects, axes=1)
    rule = Rule(margin=0, n_primary=3, give_up=0)
    assert np.isin(replay(both, rule)[0], (Ending.BETTER, Ending.WORSE)).mean() < 0.05 / 3 + 0.008
    assert (replay(main_a, rule)[0] == Ending.WORSE).mean() > 0.9
    assert (replay(main_b, rule)[0] == Ending.BETTER).mean() > 0.5
    assert (replay(main_b, rule)[0] == Ending.WORSE).mean() < 0.001
