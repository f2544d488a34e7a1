"""Numbers about one run, from its steps and evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from paribus.design.recipe import Training
from paribus.errors import StudyError
from paribus.store.records import loss_curve

SPIKE_WINDOW = 128
SPIKE_SIGMAS = 6.0
TREND_WINDOW = 33


class RunMetrics(NamedTuple):
    """The numbers of a run that its seed decides, and those that a clock measured; None: never reached."""

    metrics: dict[str, float | None]
    measured: dict[str, float | None]


def summarize(
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    training: Training,
    corpus_tokens: int,
) -> RunMetrics:
    """Return the run's metrics, and those that a clock measured.

    Losses are nats per token. ``train_loss_variance`` is the variance around a centred moving average of 33 steps
    in the second half of training; a spike is a step more than 6 standard deviations above the mean of the
    128 steps before it; ``val_loss_area`` is the mean of the loss curve over training, by the trapezoid rule over
    tokens; ``loss_reduction_per_epoch`` divides the fall of the curve by the passes over the corpus.
    What was never reached is None. Metrics of the user's own are those of the last evaluation.

    Raises StudyError where one is called like a number that is there already.
    """
    last, on_the_way = evaluations[-1], loss_curve(evaluations)
    first, end = on_the_way[0], on_the_way[-1]
    losses = np.array([line["loss"] for line in steps])
    norms = np.array([line["gradient_norm"] for line in steps])
    rates = np.array([line["measured"]["tokens_per_second"] for line in steps])
    tokens = np.array([e["tokens"] for e in on_the_way], dtype=float)
    curve = np.array([e["loss"] for e in on_the_way])
    to_target = tokens_to_target(tokens, curve, training.target_loss)
    clock = np.array([e["measured"]["training_seconds"] for e in on_the_way])
    metrics = {
        "initial_val_loss": first["loss"],
        "val_loss": last["loss"],
        "val_bits_per_byte": last["bits_per_byte"],
        "val_perplexity": math.exp(min(last["loss"], 700.0)),
        "val_accuracy": last["accuracy"],
        "val_loss_area": float(np.trapezoid(curve, tokens) / tokens[-1]),
        "loss_reduction_per_epoch": (first["loss"] - end["loss"]) * corpus_tokens / training.trained_tokens,
        "train_loss": float(losses[-min(len(losses), TREND_WINDOW) :].mean()),
        "train_loss_variance": variance_around_trend(losses[len(losses) // 2 :]),
        "loss_spikes": float(count_spikes(losses)),
        "tokens_to_target": to_target,
        "steps_to_target": None if to_target is None else to_target / training.batch_tokens,
        "gradient_norm_mean": float(norms.mean()),
        "gradient_norm_p95": float(np.quantile(norms, 0.95)),
        "gradient_norm_max": float(norms.max()),
        "gradient_norm_variance": float(norms.var()),
        "clipping_frequency": float(np.mean([line["clipped"] for line in steps])),
        "steps": float(len(steps)),
        "tokens": float(len(steps) * training.batch_tokens),
        "epochs": training.trained_tokens / corpus_tokens,
        **summarize_routing(last.get("diagnostics", {})),
    }
    own = last.get("metrics", {})
    if taken := sorted(own.keys() & metrics.keys()):
        raise StudyError(f"this run has a number called {taken[0]!r} already; name your own metric otherwise")
    metrics |= own
    quartiles = np.quantile(rates, [0.25, 0.5, 0.75])
    measured = {
        "training_seconds": float(sum(line["measured"]["seconds"] for line in steps)),
        "evaluation_seconds": float(sum(e["measured"]["seconds"] for e in evaluations)),
        "tokens_per_second": float(quartiles[1]),
        "tokens_per_second_iqr": float(quartiles[2] - quartiles[0]),
        "seconds_to_target": None if to_target is None else float(np.interp(to_target, tokens, clock)),
    }
    return RunMetrics(metrics, measured)


def summarize_routing(diagnostics: Mapping[str, float | list[float]]) -> dict[str, float]:
    """The ``diagnostics`` of all sites together, on average; numbers keep their name.

    ``largest_load`` is the most loaded expert's share of a site's assignments times the number of experts.
    """
    sites: dict[str, list[float]] = {}
    for path, value in diagnostics.items():
        name = path.rpartition(".")[2]
        if not isinstance(value, list):
            sites.setdefault(name, []).append(value)
        elif name == "load":
            sites.setdefault("largest_load", []).append(len(value) * max(value))
    return {name: float(np.mean(values)) for name, values in sites.items()}


def tokens_to_target(tokens: np.ndarray, losses: np.ndarray, target: float | None) -> float | None:
    """Tokens at which the losses, joined by straight lines, first reach ``target``; None for never."""
    if target is None:
        return None
    below = np.flatnonzero(losses <= target)
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return float(tokens[0])
    share = (losses[i - 1] - target) / (losses[i - 1] - losses[i])
    return float(tokens[i - 1] + share * (tokens[i] - tokens[i - 1]))


def variance_around_trend(losses: np.ndarray) -> float | None:
    """Variance of the residuals from a centred moving average; None with fewer steps than its window."""
    if len(losses) < TREND_WINDOW:
        return None
    trend = np.convolve(losses, np.full(TREND_WINDOW, 1 / TREND_WINDOW), mode="valid")
    half = TREND_WINDOW // 2
    return float(np.mean((losses[half : len(losses) - half] - trend) ** 2))


def count_spikes(losses: np.ndarray) -> int:
    """Steps whose loss lies more than 6 standard deviations above the mean of the 128 before."""
    if len(losses) <= SPIKE_WINDOW:
        return 0
    before = np.lib.stride_tricks.sliding_window_view(losses, SPIKE_WINDOW)[:-1]
    return int(np.sum(losses[SPIKE_WINDOW:] > before.mean(1) + SPIKE_SIGMAS * before.std(1)))
