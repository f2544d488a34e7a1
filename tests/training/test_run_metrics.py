import math

import numpy as np
import pytest

from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.training.run_metrics import (
    count_spikes,
    summarize,
    summarize_routing,
    tokens_to_target,
    variance_around_trend,
)


class Anything:
    pass


def test_a_target_is_reached_on_the_straight_line_between_two_evaluations():
    tokens, losses = np.array([0.0, 100.0, 200.0]), np.array([5.0, 4.0, 2.0])
    assert tokens_to_target(tokens, losses, 3.0) == 150.0
    assert tokens_to_target(tokens, losses, 5.0) == 0.0
    assert tokens_to_target(tokens, losses, 1.9) is None
    assert tokens_to_target(tokens, losses, None) is None


def test_a_straight_line_has_no_variance_around_its_trend():
    assert variance_around_trend(np.linspace(5, 3, 100)) == pytest.approx(0, abs=1e-20)


def test_white_noise_keeps_its_variance_around_the_trend():
    noise = np.random.default_rng(0).normal(0, 0.1, 100_000)
    # Residual of a centred mean over w = 33 points: variance (1 - 1/w) sigma^2.
    assert variance_around_trend(noise) == pytest.approx(0.01 * (1 - 1 / 33), rel=0.02)


def test_one_planted_jump_is_one_spike():
    losses = 3 + np.random.default_rng(1).normal(0, 0.01, 300)
    assert count_spikes(losses) == 0
    losses[200] += 1
    assert count_spikes(losses) == 1


def test_summary_of_a_hand_made_run():
    training = Training(
        tokens=400, batch_tokens=100, seq_len=10, optimizer=spec(Anything), evaluations=2, target_loss=3.5
    )
    steps = [
        {
            "loss": loss,
            "gradient_norm": norm,
            "clipped": norm > 1,
            "measured": {"seconds": 2.0, "tokens_per_second": 50.0},
        }
        for loss, norm in ((5.0, 4.0), (4.0, 2.0), (3.0, 1.0), (2.0, 1.0))
    ]
    evaluations = [
        {
            "tokens": t,
            "loss": loss,
            "bits_per_byte": loss,
            "accuracy": 0.5,
            "measured": {"training_seconds": s, "seconds": 1.0},
        }
        for t, loss, s in ((0, 5.0, 0.0), (200, 4.0, 4.0), (400, 3.0, 8.0))
    ]
    metrics, measured = summarize(steps, evaluations, training, corpus_tokens=800)
    assert metrics["initial_val_loss"] == 5.0
    assert metrics["val_loss"] == 3.0
    assert metrics["val_perplexity"] == pytest.approx(math.exp(3))
    assert metrics["val_loss_area"] == 4.0  # trapezoids (4.5 * 200 + 3.5 * 200) / 400
    assert metrics["loss_reduction_per_epoch"] == 4.0  # a fall of 2 in half an epoch
    assert (metrics["tokens_to_target"], metrics["steps_to_target"]) == (300.0, 3.0)
    assert measured["seconds_to_target"] == 6.0
    assert metrics["gradient_norm_mean"] == 2.0
    assert metrics["gradient_norm_max"] == 4.0
    assert metrics["gradient_norm_variance"] == 1.5  # mean of 4, 0, 1, 1
    assert metrics["clipping_frequency"] == 0.5
    assert measured["training_seconds"] == 8.0
    assert measured["evaluation_seconds"] == 3.0
    assert metrics["train_loss_variance"] is None


def summarize_a_run_that_was_scored_again(target_loss):
    """A curve over 400 tokens, 5.0 to 3.6 nats on some of the held-out tokens; then 3.0 on all of them."""
    training = Training(
        tokens=400, batch_tokens=100, seq_len=10, optimizer=spec(Anything), evaluations=2, target_loss=target_loss
    )
    line = {"loss": 4.0, "gradient_norm": 1.0, "clipped": False, "measured": {"seconds": 2.0, "tokens_per_second": 50}}
    rows = [(0, 5.0, 0.1, 0.0, 1.0), (200, 4.0, 0.3, 4.0, 1.0), (400, 3.6, 0.4, 8.0, 1.0), (400, 3.0, 0.5, 8.0, 7.0)]
    evaluations = [
        {
            "tokens": tokens,
            "loss": loss,
            "bits_per_byte": 2 * loss,
            "accuracy": accuracy,
            "metrics": {"own": 10 * loss},
            "measured": {"training_seconds": clock, "seconds": seconds},
        }
        for tokens, loss, accuracy, clock, seconds in rows
    ]
    return summarize([line] * 4, evaluations, training, corpus_tokens=800)


def test_the_final_loss_is_that_of_all_tokens_and_what_is_said_of_the_way_there_that_of_the_curve():
    metrics, measured = summarize_a_run_that_was_scored_again(target_loss=None)
    assert (metrics["val_loss"], metrics["val_bits_per_byte"], metrics["val_accuracy"]) == (3.0, 6.0, 0.5)
    assert metrics["val_perplexity"] == pytest.approx(math.exp(3))
    assert metrics["own"] == 30.0
    assert metrics["initial_val_loss"] == 5.0
    assert metrics["val_loss_area"] == pytest.approx(4.15)  # trapezoids (4.5 * 200 + 3.8 * 200) / 400
    assert metrics["loss_reduction_per_epoch"] == pytest.approx(2.8)  # a fall of 1.4, and not of 2, in half an epoch
    assert measured["evaluation_seconds"] == 10.0  # the final score was waited for too


@pytest.mark.parametrize(
    ("target", "tokens", "seconds"),
    [(3.7, 350.0, 7.0), (3.6, 400.0, 8.0), (3.3, None, None), (3.0, None, None)],  # 3.0 is the final loss
)
def test_a_target_is_reached_by_the_curve_or_not_at_all(target, tokens, seconds):
    metrics, measured = summarize_a_run_that_was_scored_again(target)
    assert metrics["tokens_to_target"] == (tokens and pytest.approx(tokens))
    assert metrics["steps_to_target"] == (tokens and pytest.approx(tokens / 100))
    assert measured["seconds_to_target"] == (seconds and pytest.approx(seconds))


def test_routing_is_averaged_over_sites_and_an_even_load_is_one():
    found = summarize_routing(
        {
            "blocks.0.mlp.load": [0.25, 0.25, 0.25, 0.25],
            "blocks.0.mlp.entropy": 1.0,
            "blocks.1.mlp.load": [0.5, 0.25, 0.25, 0.0],
            "blocks.1.mlp.entropy": 2.0,
            "blocks.1.mlp.bias_max": 0.1,
        }
    )
    assert found == {"largest_load": 1.5, "entropy": 1.5, "bias_max": 0.1}
    assert summarize_routing({}) == {}
