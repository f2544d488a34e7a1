"""Can a metric of the user's own be measured, and on the same tokens in every arm? Asked before training."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paribus.audits.before.built_study import BuiltArm, BuiltStudy
from paribus.audits.checks import Check
from paribus.audits.instruments.models import draw_tokens, forward
from paribus.data.held_out import IGNORED
from paribus.design.metrics import Metric
from paribus.design.wording import write_count
from paribus.errors import StudyError
from paribus.nn.noise import seeded
from paribus.store.records import Finding
from paribus.training.evaluation import measure_tokens
from paribus.training.isolation import preserving

_TOY = (2, 7)  # windows and tokens
_CONFIDENT = 10.0  # added to a logit
_LARGEST = 2**23  # logits at once
_SEED = 0


def _look_at_counted_tokens(built: BuiltStudy) -> Iterator[Finding]:
    if built.study.metric.measure is not None:
        recipe = built.study.training
        scored = built.corpus.evaluation(recipe.seq_len, recipe.evaluation_tokens, recipe.evaluation_side)
        yield from find_shifting_tokens(built.study.metric, scored.targets, built.vocab_size)


COUNTED_TOKENS = Check[BuiltStudy](
    name="counted tokens",
    when="before",
    severities=("doubt",),
    sees="In a study judged on a metric of the user's own: other held-out tokens that count where the predictions are "
    "random, right or wrong. A metric that raises, counts no token, does not depend on the predictions or gives other "
    "values the second time is refused.",
    misses="A choice of tokens that only a trained model's predictions change.",
    cost="six passes of the metric over the first held-out tokens that count, and only in such a study",
    needs="corpus",
    find=_look_at_counted_tokens,
)


def require_measure(metric: Metric, vocab_size: int) -> None:
    """Raise StudyError unless the measure of ``metric`` takes toy logits and targets; nothing to do without one."""
    if metric.measure is None:
        return
    targets = torch.randint(vocab_size, _TOY, generator=torch.Generator().manual_seed(_SEED))
    targets[-1, -1] = IGNORED
    _try(metric, targets, vocab_size)


def find_shifting_tokens(metric: Metric, targets: np.ndarray, vocab_size: int) -> Iterator[Finding]:
    """A metric of the user's own that counts other tokens where the logits are others: arms would not share them.

    ``targets`` are those that every run scores, (W, T). Raises StudyError where none of them counts, and see
    ``require_measure``.
    """
    if metric.measure is None:
        return
    n_windows = max(1, _LARGEST // (targets.shape[1] * vocab_size))
    for rows in torch.from_numpy(targets).split(n_windows):
        tried = _try(metric, rows, vocab_size)
        counted = [~values.isnan() for values in tried]
        if any(tokens.any() for tokens in counted):
            break
    else:
        n = write_count(int((targets != IGNORED).sum()), "held-out token")
        raise StudyError(f"metric {metric.key!r} counts none of the {n}: all its values are NaN")
    numbers = [int(tokens.sum()) for tokens in counted]
    if not all(tokens.equal(counted[0]) for tokens in counted):
        yield Finding(
            check="counted tokens",
            severity="doubt",
            message=f"the metric {metric.key!r} counts other tokens where the predictions are others: of "
            f"{rows.numel():,} held-out tokens {numbers[0]:,} with random ones, {numbers[1]:,} with right ones and "
            f"{numbers[2]:,} with wrong ones, so that the arms are averaged over tokens of their own choice",
            evidence={"tokens": rows.numel(), "random": numbers[0], "right": numbers[1], "wrong": numbers[2]},
            remedy="let the targets alone decide which tokens count",
        )


def find_stateful_metric(arm: BuiltArm) -> Iterator[Finding]:
    """A metric of the user's own that gives other values of the same logits once the arm has read other tokens."""
    metric, probe = arm.within.study.metric, arm.probe
    if metric.measure is None:
        return
    generator = torch.Generator().manual_seed(_SEED)
    logits = torch.randn(*_TOY, probe.vocab_size, generator=generator)
    targets = torch.randint(probe.vocab_size, _TOY, generator=generator)
    values = []
    for seed in (0, 1, 0):
        with preserving(probe.model):
            forward(probe.model.eval(), draw_tokens(probe.vocab_size, _TOY[0], probe.length, seed))
        values.append(_measure(metric, logits.clone(), targets))
    if not all(_equal(values[0], other) for other in values[1:]):
        apart = max((values[0] - other).abs().nan_to_num(nan=math.inf).max().item() for other in values[1:])
        yield Finding(
            check="metric",
            severity="doubt",
            message=f"the metric {metric.key!r} gives other values of equal logits and targets once {arm.name!r} has "
            f"read other tokens: by up to {apart:.2g} {metric.unit}. It reads what a pass leaves behind",
            arm=arm.name,
            evidence={"largest_difference": apart},
            remedy="compute it from logits and targets alone; what a part remembers differs between arms and processes",
        )


def _try(metric: Metric, targets: Tensor, vocab_size: int) -> list[Tensor]:
    """The values on random, on right and on wrong predictions, (W, T) each.

    Raises StudyError for values that differ the second time, and for values that no prediction changes.
    """
    generator = torch.Generator().manual_seed(_SEED)
    random = torch.randn(*targets.shape, vocab_size, generator=generator)
    answers = targets.clamp(min=0)
    predicted = [
        random,
        random + _CONFIDENT * F.one_hot(answers, vocab_size),
        random + _CONFIDENT * F.one_hot((answers + 1) % vocab_size, vocab_size),
    ]
    values, again = ([_measure(metric, logits.clone(), targets) for logits in predicted] for _ in range(2))
    if not all(map(_equal, values, again)):
        raise StudyError(f"metric {metric.key!r} gives other values the second time, on the same logits and targets")
    if not values[0].isnan().all() and all(_equal(values[0], other) for other in values[1:]):
        raise StudyError(f"metric {metric.key!r} does not depend on the logits: every arm would have the same value")
    return values


def _measure(metric: Metric, logits: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad(), seeded(_SEED):  # as a run seeds every evaluation
        assert callable(metric.measure)  # a name alone comes from a registration, which is not audited
        return measure_tokens(metric.key, metric.measure, logits, targets)


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
