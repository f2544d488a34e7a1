"""What a model looks like when its training is over: sizes of outputs and gradients, site by site."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paribus.design.streams import derive
from paribus.nn.noise import seeded
from paribus.training.isolation import preserving
from paribus.training.step import accumulate_gradients


def measure_sites(
    model: nn.Module,
    paths: Collection[str],
    batch: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    unmoved: Collection[str] = (),
    device: str = "cpu",
    precision: str = "fp32",
) -> dict[str, dict[str, float]]:
    """The modules at ``paths`` on one more batch, in training mode and without a step.

    ``output_rms`` is the root mean square over all calls of a module's forward; it is absent where none gave a tensor,
    and for the model itself.
    ``gradient_rms`` is that of its trainable parameters' gradients before clipping, auxiliary losses included;
    ``unmoved`` is the share of those parameters in tensors named in ``unmoved``. Both are absent without parameters.
    The model's weights, buffers, gradients and mode, and the default generators, are as they were before.
    """
    inputs, targets = (torch.from_numpy(array).to(device) for array in batch)
    modules = {path: model.get_submodule(path) for path in paths}
    # The outputs of the model itself are the logits, which nothing else asks for all at once.
    below = {path: module for path, module in modules.items() if path}
    noise = derive(seed, "health")
    with preserving(model), seeded(noise, device), _squares_of_outputs(below) as outputs:
        model.train()
        model.zero_grad()
        accumulate_gradients(model, inputs, targets, len(inputs), device, precision)
        squares = {name: _sum_of_squares(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    found = {}
    for path in modules:
        own = {name: size for name, size in sizes.items() if not path or name.startswith(f"{path}.")}
        found[path] = _describe(outputs.get(path), own, squares, unmoved)
    return found


def _describe(
    output: tuple[float, int] | None, sizes: Mapping[str, int], squares: Mapping[str, float], unmoved: Collection[str]
) -> dict[str, float]:
    told = {}
    if output is not None:
        square, count = output
        told["output_rms"] = math.sqrt(square / count)
    if n := sum(sizes.values()):
        told["gradient_rms"] = math.sqrt(sum(squares.get(name, 0.0) for name in sizes) / n)
        told["unmoved"] = sum(size for name, size in sizes.items() if name in unmoved) / n
    return told


@contextmanager
def _squares_of_outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[float, int]]]:
    """Path to the sum of squares of all outputs and their count, filled while the modules run."""
    seen: dict[str, tuple[float, int]] = {}

    def watch(path: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) and output else output
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                square, count = seen.get(path, (0.0, 0))
                seen[path] = square + _sum_of_squares(tensor), count + tensor.numel()

        return hook

    handles = [module.register_forward_hook(watch(path)) for path, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _sum_of_squares(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor.detach().float()).item() ** 2
