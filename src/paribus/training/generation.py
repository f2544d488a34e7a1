"""Tokens out of a trained model, and whether what it writes with is what it was trained as."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paribus.errors import TrainingError
from paribus.training.isolation import evaluating

MOST_PREFIXES = 64


@torch.no_grad()
def generate(
    model: nn.Module,
    tokens: Tensor,
    n_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    window: int | None = None,
) -> Tensor:
    """The ``n_tokens`` tokens (B, n_tokens) that ``model`` writes after ``tokens`` (B, T), in eval mode.

    At ``temperature`` 0 each is the most likely one, the first of equals; else it is drawn with probability
    proportional to exp(logit / temperature), from ``generator``. The model reads the last ``window`` tokens, all of
    them by default: beyond that the window slides, and what has left it is forgotten.

    Raises TrainingError where the logits are not finite.
    """
    with evaluating(model):
        for written in range(n_tokens):
            context = tokens if window is None else tokens[:, -window:]
            logits = model(context)[:, -1].double()  # (B, V)
            if not logits.isfinite().all():
                raise TrainingError(f"token {written + 1} cannot be chosen: its logits are not finite")
            tokens = torch.cat([tokens, _choose(logits, temperature, generator)], dim=1)
    return tokens[:, tokens.shape[1] - n_tokens :]


@dataclass(frozen=True)
class Decoding:
    """How far the logits of one pass over a whole sequence lie from those of the ways to decode it.

    Args:
        n_tokens: tokens of the sequence.
        n_prefixes: of its beginnings that were read, each in a pass of its own.
        by_prefixes: largest difference at any place of any of them; infinite where a logit is no number.
        by_steps: the same where mixers take token after token through ``step()``; None where no mixer has it.
        largest_logit: of the pass over the whole sequence, without its sign.
    """

    n_tokens: int
    n_prefixes: int
    by_prefixes: float
    by_steps: float | None
    largest_logit: float


@torch.no_grad()
def measure_decoding(model: nn.Module, tokens: Tensor, steppers: Sequence[nn.Module] = ()) -> Decoding:
    """Compare the logits of one pass over ``tokens`` (B, T) with those of growing prefixes, in eval mode.

    ``MOST_PREFIXES`` lengths at most, evenly spread, the first token alone and the whole among them. Each of
    ``steppers``, modules of ``model``, then takes its input token by token through ``step(x, state) -> (y, state)``
    with ``None`` as the first state, while everything else is as it was.
    """
    length = tokens.shape[1]
    n_prefixes = min(length, MOST_PREFIXES)
    lengths = [length - i * (length - 1) // max(1, n_prefixes - 1) for i in range(n_prefixes)]
    with evaluating(model):
        whole = model(tokens)  # (B, T, V)
        by_prefixes = max(_distance(model(tokens[:, :end]), whole[:, :end]) for end in lengths)
        by_steps = None
        if steppers:
            with _stepping(steppers):
                by_steps = _distance(model(tokens), whole)
    return Decoding(length, n_prefixes, by_prefixes, by_steps, whole.abs().max().item())


@torch.no_grad()
def score_tokens(model: nn.Module, tokens: Tensor, start: int) -> float:
    """Mean log-probability in nats per token of ``tokens`` (B, T) from place ``start`` on, each after all before it."""
    with evaluating(model):
        logits = model(tokens[:, :-1]).double()  # (B, T - 1, V)
    chosen = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    return chosen[:, start - 1 :].mean().item()


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """The next token of each row, (B, 1)."""
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    # The largest is taken off first: at a low temperature its own exponent is 0 and the others' fall to -inf.
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
    return torch.multinomial(scaled.softmax(-1), 1, generator=generator)


def _distance(one: Tensor, other: Tensor) -> float:
    far = (one - other).abs().nan_to_num(nan=math.inf)
    return far.max().item()


@contextmanager
def _stepping(modules: Sequence[nn.Module]) -> Iterator[None]:
    for module in modules:
        module.forward = partial(_step_through, module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _step_through(module: Any, x: Tensor) -> Tensor:
    """What ``module`` makes of (B, T, D), one token after the other."""
    state, outputs = None, []
    for t in range(x.shape[1]):
        y, state = module.step(x[:, t : t + 1], state)
        outputs.append(y)
    return torch.cat(outputs, dim=1)
