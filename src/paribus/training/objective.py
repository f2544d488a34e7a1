"""What is minimised: the model's own loss, or the mean cross-entropy, where possible without the logits in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_WHOLE: ContextVar[bool] = ContextVar("paribus_whole_logits", default=False)


def model_loss(model: Any, tokens: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token of (B, T) ``targets``; the model's own ``loss`` where it has one.

    A model whose logits are ``features(tokens) @ unembedding.T`` says so by these two names, and is never asked for
    all logits at once. Where something watches the head or the model by a hook, or a subclass has a ``forward`` of its
    own, the logits are what ``forward`` returns.
    """
    own = getattr(model, "loss", None)
    if callable(own):
        return own(tokens, targets)
    unembedding = find_unembedding(model)
    if unembedding is None:
        return cross_entropy(model(tokens), targets)
    return linear_cross_entropy(model.features(tokens), unembedding, targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token of (B, T, V) ``logits`` and (B, T) ``targets``."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def find_unembedding(model: Any) -> Tensor | None:
    """The matrix (V, D) with which ``model.features(tokens)`` gives what ``model(tokens)`` says; None without one."""
    homes = {_home(type(model), name) for name in ("forward", "features", "unembedding")}
    if _WHOLE.get() or None in homes or len(homes) > 1 or "forward" in vars(model):
        return None  # whoever wrote one of the three need not have meant the others
    hooks = model._forward_hooks, model._forward_pre_hooks, model._backward_hooks, model._backward_pre_hooks
    return None if any(hooks) else model.unembedding


def stream_logits(model: Any, tokens: Tensor) -> Iterator[Tensor]:
    """The logits of (B, T) ``tokens`` in their order, (N, V) at a time, for all that need no gradient.

    All at once where ``find_unembedding`` finds none.
    """
    unembedding = find_unembedding(model)
    if unembedding is None:
        yield model(tokens).flatten(0, 1)
        return
    x = model.features(tokens).flatten(0, 1)
    for some in x.split(max(1, _chunk_rows(x, len(unembedding)) // 2)):  # who scores them holds as many again
        yield F.linear(some, unembedding)


@contextmanager
def whole_logits() -> Iterator[None]:
    """Inside, every loss is of the logits that ``forward`` returns: one order of sums for all models, to the bit."""
    token = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token of the logits ``x @ weight.T``.

    x is (B, T, D), weight (V, D), targets (B, T). Equals ``cross_entropy(F.linear(x, weight), targets)`` up to the
    order of its sums, and holds few logits at a time: their gradient is taken at once, in the forward pass.
    Under autocast the products run in its type; the softmax and the sum over tokens run in float32.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    with torch.autocast(kind, enabled=False):
        return _LinearCrossEntropy.apply(x.flatten(0, 1), weight, targets.flatten(), dtype, torch.is_grad_enabled())


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, graded: bool) -> Tensor:
        x, matrix = x.to(dtype), weight.to(dtype)
        exact = torch.promote_types(dtype, torch.float32)
        needs_x, needs_weight = (graded and needed for needed in ctx.needs_input_grad[:2])
        x_grad = torch.empty_like(x) if needs_x else None
        weight_grad = torch.zeros_like(weight, dtype=exact) if needs_weight else None
        total = torch.zeros((), dtype=exact, device=x.device)
        rows = min(_chunk_rows(x, len(weight)), len(x))
        # One block for all chunks, where the type allows: a fresh one is faulted in at the price of a product.
        block = x.new_empty(rows, len(weight), dtype=exact)
        for start in range(0, len(x), rows):
            some, answers = x[start : start + rows], targets[start : start + rows, None]
            logits = block[: len(some)]
            if dtype is exact:
                torch.mm(some, matrix.mT, out=logits)
            else:
                logits.copy_(some @ matrix.mT)
            told, largest = logits.gather(1, answers), logits.amax(1, keepdim=True)
            p = logits.sub_(largest).exp_()
            normalizer = p.sum(1, keepdim=True)
            total += (normalizer.log() + (largest - told)).sum()  # two large numbers leave first
            if not (needs_x or needs_weight):
                continue
            gradient = p.div_(normalizer)  # of the sum of the losses by the logits: p - onehot
            gradient.scatter_add_(1, answers, gradient.new_full((1, 1), -1.0).expand_as(answers))
            gradient = gradient.to(dtype)
            if x_grad is not None:
                torch.mm(gradient, matrix, out=x_grad[start : start + rows])
            if weight_grad is not None and dtype is exact:
                weight_grad.addmm_(gradient.mT, some)
            elif weight_grad is not None:
                weight_grad += gradient.mT @ some
        ctx.save_for_backward(x_grad, weight_grad)
        ctx.n = len(x)
        return total / len(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradient / ctx.n
        return *(None if saved is None else saved * scale for saved in ctx.saved_tensors), None, None, None


def _chunk_rows(x: Tensor, vocab_size: int) -> int:
    """Rows whose logits are in memory together."""
    logits = 2**25 if x.device.type == "cpu" else 2**26  # 128 MB, 256 MB: large products keep a GPU busy
    return max(1, logits // vocab_size)


def _home(cls: type, name: str) -> type | None:
    """The class that defines the method, of ``cls`` and its bases."""
    return next((base for base in cls.__mro__ if name in vars(base)), None)
