"""Scores on held-out tokens: always the same tokens, summed per document."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paribus.data.held_out import IGNORED, HeldOut
from paribus.errors import StudyError
from paribus.training.isolation import evaluating
from paribus.training.objective import stream_logits

Measure = Callable[[Tensor, Tensor], Tensor]
"""Logits (W, T, V) and targets (W, T) to one value per token, (W, T), NaN where a token does not count."""


@dataclass(frozen=True)
class Scores:
    """Mean loss in nats per token, bits per byte (None without bytes), share of right predictions, sums per document.

    Args:
        diagnostics: what the parts that have ``diagnostics()`` say, by path and name, averaged over the windows.
        own: metrics of the user's own, by key.
    """

    loss: float
    bits_per_byte: float | None
    accuracy: float
    document_loss: tuple[float, ...]
    document_tokens: tuple[int, ...]
    diagnostics: dict[str, float | list[float]] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    held_out: HeldOut,
    batch_windows: int,
    device: str,
    precision: str,
    measures: Mapping[str, Measure] = MappingProxyType({}),
) -> Scores:
    """Score ``model`` in eval mode; the mode it was in is restored. Auxiliary losses never count.

    ``measures`` are metrics of the user's own, by key: each is the mean of its values over the scored tokens where it
    is not NaN. One that counts none of these tokens is left out, and all are where the loss is not finite. Raises
    StudyError for a measure that does not give that, see ``measure_tokens``.
    """
    n_documents = held_out.n_documents
    diagnostics: dict[str, Tensor] = {}
    losses, hits, counts = np.zeros(n_documents), 0, np.zeros(n_documents, dtype=np.int64)
    own = {key: np.zeros(2) for key in measures}  # sum, tokens that count
    with evaluating(model):
        for start in range(0, len(held_out.inputs), batch_windows):
            rows = slice(start, start + batch_windows)
            inputs = torch.from_numpy(held_out.inputs[rows]).to(device)
            targets = torch.from_numpy(held_out.targets[rows]).to(device)
            with autocast(device, precision):
                whole = model(inputs) if measures else None  # (B, T, V)
                parts = stream_logits(model, inputs) if whole is None else [whole.flatten(0, 1)]
                loss, predicted = _score_tokens(parts, targets.flatten())
            share = len(inputs) / len(held_out.inputs)
            for name, value in gather_diagnostics(model).items():
                diagnostics[name] = diagnostics.get(name, 0.0) + share * value.double()
            scored = held_out.targets[rows].ravel() != IGNORED
            owners = held_out.documents[rows].ravel()[scored]
            losses += np.bincount(owners, loss.cpu().double().numpy()[scored], n_documents)
            counts += np.bincount(owners, minlength=n_documents)
            hits += int((predicted == targets.flatten()).sum())
            # Last, as a function of the user's may write into what it is given; never on what a diverged model says.
            if whole is not None and np.isfinite(losses).all():
                for key, measure in measures.items():
                    values = measure_tokens(key, measure, whole, targets)
                    own[key] += values.nansum().item(), (~values.isnan()).sum().item()
    total, tokens = float(losses.sum()), int(counts.sum())
    n_bytes = (
        0 if held_out.window_bytes is None else int(held_out.window_bytes.sum())
    )  # separators alone have none either
    return Scores(
        loss=total / tokens,
        bits_per_byte=total / math.log(2) / n_bytes if n_bytes else None,
        accuracy=hits / tokens,
        document_loss=tuple(losses.tolist()),
        document_tokens=tuple(counts.tolist()),
        diagnostics={name: value.tolist() for name, value in diagnostics.items()},
        own={key: _mean(key, total, n) for key, (total, n) in own.items() if n} if math.isfinite(total) else {},
    )


def _score_tokens(parts: Iterable[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and prediction of every token, whose logits come in ``parts`` of (N, V)."""
    losses, predicted, start = [], [], 0
    for logits in parts:
        answers = targets[start : start + len(logits)]
        losses.append(F.cross_entropy(logits.float(), answers, ignore_index=IGNORED, reduction="none"))
        predicted.append(logits.argmax(-1))
        start += len(logits)
    return torch.cat(losses), torch.cat(predicted)


def measure_tokens(key: str, measure: Measure, logits: Tensor, targets: Tensor) -> Tensor:
    """A value per token of (W, T, V) ``logits`` and (W, T) ``targets``, in float64; NaN where it does not count.

    Raises StudyError, the metric's ``key`` in front, where ``measure`` raises or gives no number per token.
    """
    where = f"metric {key!r}: {getattr(measure, '__qualname__', measure)}"
    try:
        values = measure(logits.float(), targets.clone())  # the targets' memory is that of all evaluations
    except Exception as error:  # the user's own code
        kind, detail = type(error).__name__, str(error).strip().splitlines()
        hint = "; a position that is not scored has the target -1" if (targets == IGNORED).any() else ""
        raise StudyError(f"{where} raises {kind}: {detail[0] if detail else ''}{hint}") from error
    wanted = f"expected one value per token, ({', '.join(map(str, targets.shape))})"
    if not isinstance(values, Tensor):
        raise StudyError(f"{where} gives a {type(values).__name__}; {wanted}")
    if values.shape != targets.shape:
        raise StudyError(f"{where} gives the shape ({', '.join(map(str, values.shape))}); {wanted}")
    if values.is_complex():
        raise StudyError(f"{where} gives complex numbers; {wanted}")
    return values.cpu().double().masked_fill((targets == IGNORED).cpu(), math.nan)  # no float64 on Apple's GPUs


def _mean(key: str, total: float, n: float) -> float:
    if not math.isfinite(total):
        raise StudyError(f"metric {key!r} is {total}: some token's value is infinite; NaN where it does not count")
    return total / n


def gather_diagnostics(model: nn.Module) -> dict[str, Tensor]:
    """What every part that has ``diagnostics()`` says about the last forward pass, by path and name."""
    found = {}
    for path, module in model.named_modules():
        if hasattr(module, "diagnostics"):
            found.update({f"{path}.{name}": value for name, value in module.diagnostics().items()})
    return found


@contextlib.contextmanager
def autocast(device: str, precision: str) -> Iterator[None]:
    """bf16 arithmetic where ``precision`` asks for it; the weights stay as they are."""
    if precision == "bf16":
        with torch.autocast(device_type=device, dtype=torch.bfloat16):
            yield
    else:
        yield
