import math

import numpy as np
import pytest

from paribus.design.metrics import VAL_LOSS
from paribus.errors import JudgementError
from paribus.judgement.comparison import compare
from paribus.judgement.document_noise import estimate_document_error, name_knob
from paribus.judgement.pairs import Pair
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import decide


def simulate(rng, n_pairs, weights, s_doc, s_seed, s_rest):
    """D_sk = seed effect + document effect + rest, independent normals."""
    documents = len(weights)
    return (
        s_seed * rng.standard_normal((n_pairs, 1))
        + s_doc * rng.standard_normal((1, documents))
        + s_rest * rng.standard_normal((n_pairs, documents))
    )


@pytest.mark.parametrize("n_pairs", [2, 5, 10])
@pytest.mark.parametrize("equal", [True, False], ids=["equal weights", "unequal weights"])
def test_the_document_error_is_recovered_from_simulated_losses(n_pairs, equal):
    """Var(sum_k w_k delta_k) = s_doc^2 sum_k w_k^2, whatever the seed noise and the rest are."""
    rng = np.random.default_rng(n_pairs)
    weights = np.ones(200) if equal else rng.uniform(0.5, 1.5, 200)
    w = weights / weights.sum()
    truth = 0.3**2 * (w**2).sum()
    found = [estimate_document_error(simulate(rng, n_pairs, weights, 0.3, 0.2, 0.4), weights) ** 2 for _ in range(400)]
    assert np.mean(found) == pytest.approx(truth, rel=0.04)


def test_without_document_effects_the_seed_noise_is_taken_away():
    rng = np.random.default_rng(1)
    found = np.array(
        [estimate_document_error(simulate(rng, 4, np.ones(100), 0, 1, 1), np.ones(100)) for _ in range(300)]
    )
    naive = 1 / math.sqrt(4 * 100)
    assert (found == 0).mean() > 0.3
    assert np.sqrt((found**2).mean()) < 0.5 * naive


def test_the_formula_by_hand():
    """Two pairs, two documents, weights 1/4 and 3/4: Dbar = (2, 4), theta = 3.5, residuals +-.5 everywhere."""
    found = estimate_document_error(np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([10, 30]))
    between = 2 * (1 / 16 * 1.5**2 + 9 / 16 * 0.5**2)
    within = 2 * 2 / 4 * 0.25 * (2 / 16 + 2 * 9 / 16)
    assert found == pytest.approx(math.sqrt(between - within), rel=1e-12)


def test_one_pair_or_one_document_says_nothing():
    assert estimate_document_error(np.ones((1, 5)), np.ones(5)) is None
    assert estimate_document_error(np.ones((5, 1)), np.ones(1)) is None


def test_scaling_the_losses_scales_the_error_and_scaling_the_weights_does_not():
    rng = np.random.default_rng(2)
    d, weights = simulate(rng, 5, np.ones(30), 1, 1, 1), rng.uniform(1, 9, 30)
    once = estimate_document_error(d, weights)
    assert estimate_document_error(3 * d, weights) == pytest.approx(3 * once, rel=1e-12)
    assert estimate_document_error(d, 7 * weights) == pytest.approx(once, rel=1e-12)
    assert estimate_document_error(d + 5, weights) == pytest.approx(once, rel=1e-9)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(JudgementError, match="weights"):
        estimate_document_error(np.ones((3, 4)), np.ones(3))
    with pytest.raises(JudgementError, match="not all zero"):
        estimate_document_error(np.ones((3, 4)), np.zeros(4))
    with pytest.raises(JudgementError, match="finite"):
        estimate_document_error(np.full((3, 4), np.nan), np.ones(4))


def test_documents_are_the_knob_when_their_error_is_over_a_third_of_the_seeds():
    assert name_knob(0.34, 1.0) == "evaluation documents"
    assert name_knob(0.33, 1.0) == "seeds"


def documented_pairs(documents, seeds, shift):
    return [
        Pair(
            seed,
            3.0,
            3.0 + shift + noise,
            baseline_documents=np.full(len(documents), 3.0),
            treatment_documents=3.0 + shift + noise + documents,
            weights=np.full(len(documents), 100.0),
        )
        for seed, noise in enumerate(seeds)
    ]


def test_document_noise_widens_the_wider_claim_and_leaves_the_verdict_alone():
    documents = np.array([1.0, -1.0] * 8)
    found = compare(
        "arm", documented_pairs(documents, [0.01, -0.01, 0.005, -0.005, 0.0], -0.1), Rule(margin=0), VAL_LOSS
    )
    assert found.se_doc == pytest.approx(math.sqrt(16 / 15 / 16), rel=1e-9)
    width = found.interval[1] - found.interval[0]
    assert found.wider_interval[1] - found.wider_interval[0] == pytest.approx(
        math.hypot(width, 2 * 1.959963984540054 * found.se_doc), rel=1e-9
    )
    verdict = decide(found)
    assert (verdict.kind, verdict.wider_kind) == ("better", "undecided")
    assert "evaluation documents" in " ".join(verdict.notes)
    quiet = decide(
        compare("arm", documented_pairs(0.001 * documents, [0.01, -0.01, 0.0], -0.1), Rule(margin=0), VAL_LOSS)
    )
    assert (quiet.kind, quiet.wider_kind) == ("better", "better")


def test_pairs_scored_on_other_documents_are_refused():
    pairs = documented_pairs(np.zeros(4), [0.1, 0.2, 0.3], 0)
    bare = Pair(2, 3.0, 3.3)
    with pytest.raises(JudgementError, match="seed 2 has no per-document losses"):
        compare("arm", [*pairs[:2], bare], Rule(margin=0), VAL_LOSS)
    other = Pair(2, 3.0, 3.3, baseline_documents=np.ones(4), treatment_documents=np.ones(4), weights=np.ones(4))
    with pytest.raises(JudgementError, match="seed 2 was scored on other"):
        compare("arm", [*pairs[:2], other], Rule(margin=0), VAL_LOSS)
