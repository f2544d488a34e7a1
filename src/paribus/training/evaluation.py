"""Scores on held-out tokens: always the same tokens, summed per document."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -1  # target of a position that is not scored


@dataclass(frozen=True)
class HeldOut:
    """The tokens that are scored.

    Args:
        inputs: (W, T) token ids of W windows.
        targets: (W, T) next tokens; ``IGNORED`` where nothing is scored.
        documents: (W, T) index of the document each target belongs to.
        n_bytes: bytes of text that the scored targets stand for; None where they are not known.
    """

    inputs: np.ndarray
    targets: np.ndarray
    documents: np.ndarray
    n_bytes: int | None


@dataclass(frozen=True)
class Scores:
    """Mean loss in nats per token, bits per byte (None without bytes), share of right predictions, sums per document.

    Args:
        diagnostics: what the parts that have ``diagnostics()`` say, by path and name, averaged over the windows.
    """

    loss: float
    bits_per_byte: float | None
    accuracy: float
    document_loss: tuple[float, ...]
    document_tokens: tuple[int, ...]
    diagnostics: dict[str, float | list[float]] = field(default_factory=dict)


@torch.no_grad()
def evaluate(model: nn.Module, held_out: HeldOut, batch_windows: int, device: str, precision: str) -> Scores:
    """Score ``model`` in eval mode; the mode it was in is restored. Auxiliary losses never count."""
    was_training = model.training
    model.eval()
    n_documents = int(held_out.documents.max()) + 1
    diagnostics: dict[str, Tensor] = {}
    losses, hits, counts = np.zeros(n_documents), 0, np.zeros(n_documents, dtype=np.int64)
    for start in range(0, len(held_out.inputs), batch_windows):
        rows = slice(start, start + batch_windows)
        inputs = torch.from_numpy(held_out.inputs[rows]).to(device)
        targets = torch.from_numpy(held_out.targets[rows]).to(device)
        with autocast(device, precision):
            logits = model(inputs)  # (B, T, V)
        share = len(inputs) / len(held_out.inputs)
        for name, value in gather_diagnostics(model).items():
            diagnostics[name] = diagnostics.get(name, 0.0) + share * value.double()
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        scored = held_out.targets[rows].ravel() != IGNORED
        owners = held_out.documents[rows].ravel()[scored]
        losses += np.bincount(owners, loss.cpu().double().numpy()[scored], n_documents)
        counts += np.bincount(owners, minlength=n_documents)
        hits += int((logits.argmax(-1) == targets).sum())
    model.train(was_training)
    total, tokens = float(losses.sum()), int(counts.sum())
    return Scores(
        loss=total / tokens,
        bits_per_byte=None if held_out.n_bytes is None else total / math.log(2) / held_out.n_bytes,
        accuracy=hits / tokens,
        document_loss=tuple(losses.tolist()),
        document_tokens=tuple(counts.tolist()),
        diagnostics={name: value.tolist() for name, value in diagnostics.items()},
    )


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
