"""The metrics in words: what a key of a record means, its unit, and the table it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from paribus.design.metrics import Metric

GROUPS = {
    "quality": "Quality",
    "convergence": "Convergence",
    "size": "Size",
    "compute": "Compute",
    "gradients": "Gradients",
    "routing": "Routing, in the last evaluation",
    "clock": "Time and memory, measured",
    "other": "Other metrics",
}
"""Tables of the report, in order."""


SHARED = {
    "best": "a treatment as close to the baseline as its nudged copy",
    "middle": "between the two",
    "worst": "a treatment that shares nothing with the baseline",
}
"""What a paired sd of a calibration stands for."""


@dataclass(frozen=True)
class Word:
    """A metric in words.

    Args:
        words: its name.
        unit: its unit, "" for a plain number; with a ``family``, what the scaled unit is per ("/token" or "").
        group: a key of ``GROUPS``.
        family: how large numbers are scaled, see ``formatting.choose_scale``; "" leaves them, "percent" times 100.
    """

    words: str
    unit: str
    group: str
    family: str = ""

    def label(self, scaled: str = "") -> str:
        """``validation loss, nats/token``; ``scaled`` is the unit that the numbers were scaled to."""
        unit = f"{scaled}{self.unit}" if self.family else self.unit
        return f"{self.words}, {unit}" if unit else self.words


_LOSS = "nats/token"

WORDS = {
    "val_loss": Word("validation loss", _LOSS, "quality"),
    "val_bits_per_byte": Word("validation loss", "bits/byte", "quality"),
    "val_perplexity": Word("validation perplexity", "per token", "quality"),
    "val_accuracy": Word("validation accuracy", "", "quality", "percent"),
    "initial_val_loss": Word("validation loss before training", _LOSS, "quality"),
    "train_loss": Word("training loss at the end", _LOSS, "quality"),
    "val_loss_area": Word("validation loss averaged over training (area under the curve)", _LOSS, "convergence"),
    "loss_reduction_per_epoch": Word("loss reduction per epoch", _LOSS, "convergence"),
    "tokens_to_target": Word("tokens to the target loss", "", "convergence", "count"),
    "steps_to_target": Word("steps to the target loss", "steps", "convergence"),
    "train_loss_variance": Word("variance of the training loss around its trend", "(nats/token)²", "convergence"),
    "loss_spikes": Word("loss spikes", "count", "convergence"),
    "parameters": Word("parameters", "", "size", "parameters"),
    "active_parameters": Word("parameters active per token", "", "size", "parameters"),
    "embedding_parameters": Word("parameters in embeddings", "", "size", "parameters"),
    "norm_parameters": Word("parameters in norms", "", "size", "parameters"),
    "block_norm_parameters": Word("parameters in the norms of blocks", "", "size", "parameters"),
    "forward_flops_per_token": Word("forward pass", "/token", "compute", "flops"),
    "training_flops_per_token": Word("training", "/token", "compute", "flops"),
    "steps": Word("optimizer steps", "", "compute"),
    "tokens": Word("training tokens", "", "compute", "count"),
    "epochs": Word("passes over the training split", "epochs", "compute"),
    "gradient_norm_mean": Word("gradient norm before clipping, mean", "", "gradients"),
    "gradient_norm_p95": Word("gradient norm, 95th percentile", "", "gradients"),
    "gradient_norm_max": Word("gradient norm, largest", "", "gradients"),
    "gradient_norm_variance": Word("gradient norm, variance over steps", "", "gradients"),
    "clipping_frequency": Word("steps clipped", "", "gradients", "percent"),
    "largest_load": Word("largest share of an expert, times the number of experts, mean over sites", "", "routing"),
    "entropy": Word("entropy of the router's probabilities, mean over sites", "nats/token", "routing"),
    "dropped": Word("tokens that no expert took", "", "routing", "percent"),
    "unused": Word("experts without a token, mean over sites", "", "routing"),
    "bias_min": Word("smallest correction bias, mean over sites", "", "routing"),
    "bias_max": Word("largest correction bias, mean over sites", "", "routing"),
    "training_seconds": Word("training time without start-up and evaluation", "", "clock", "seconds"),
    "seconds_to_target": Word("training time to the target loss", "", "clock", "seconds"),
    "tokens_per_second": Word("throughput, median over steps", "tokens/s", "clock"),
    "training_flops_per_second": Word("training arithmetic, median over steps", "/s", "clock", "flops"),
    "tokens_per_second_iqr": Word("throughput, interquartile range over steps", "tokens/s", "clock"),
    "evaluation_seconds": Word("evaluation time", "", "clock", "seconds"),
    "startup_seconds": Word("start-up time", "", "clock", "seconds"),
    "peak_memory_bytes": Word("peak memory", "", "clock", "bytes"),
}

FLOPS = ("forward_flops_per_token", "training_flops_per_token", "training_flops_per_second")
"""Counted with every score of an attention, masked or not."""

TARGETS = ("tokens_to_target", "steps_to_target", "seconds_to_target")
"""Null where the target loss was never reached."""


def find_word(key: str, unit: str = "", group: str = "other") -> Word:
    """The word for a metric; one that is not known here is called by its key, and stands in ``group``."""
    return WORDS.get(key) or Word(key, unit, group)


def name_metric(metric: Metric) -> str:
    """A study's metric in words with its own unit, such as ``validation loss, nats/token``."""
    words = find_word(metric.key).words
    return f"{words}, {metric.unit}" if metric.unit else words
