"""Leaves that carry their initialization as an argument, and how a composite resets its children."""

from __future__ import annotations

import torch
from torch import nn

from paribus.design.streams import derive
from paribus.nn.contract import stream


class Linear(nn.Linear):
    """y = x W^T + b,  W ~ N(0, init_std^2),  b = 0"""

    def __init__(self, d_in: int, d_out: int, bias: bool = False, init_std: float = 0.02):
        self.init_std = init_std  # before the base class resets
        super().__init__(d_in, d_out, bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.init_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """y = W[token],  W ~ N(0, init_std^2)"""

    def __init__(self, n_rows: int, d_model: int, init_std: float = 0.02):
        self.init_std = init_std
        super().__init__(n_rows, d_model)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.init_std)


def reset_children(part: nn.Module) -> None:
    """Reset every child of ``part``, each under the stream of its own path.

    This makes a tensor depend on its path and shape alone: the output projection of a GQA arm equals
    that of the MHA arm. A foreign child is one unit; one without a reset stays as it was constructed.
    """
    for name, child in part.named_children():
        with stream(name):
            if callable(reset := getattr(child, "reset_parameters", None)):
                reset()
            elif isinstance(child, nn.ModuleList | nn.ModuleDict):
                reset_children(child)


@torch.no_grad()
def nudge(model: nn.Module, seed: int) -> None:
    """Move every weight of ``model`` to the next number its type can hold, up or down at random; zeros stay."""
    generator = torch.Generator().manual_seed(derive(seed, "nudge"))
    for p in model.parameters():
        up = torch.rand(p.shape, generator=generator) < 0.5
        towards = torch.where(up, torch.inf, -torch.inf).to(p.dtype)
        p.copy_(torch.where(p == 0, p, torch.nextafter(p, towards)))
