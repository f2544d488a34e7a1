"""What rounding alone does to a run: the smallest change of its initial weights that there is."""

from __future__ import annotations

import torch
from torch import nn

from paribus.streams import derive


@torch.no_grad()
def nudge(model: nn.Module, seed: int) -> None:
    """Move every weight of ``model`` to the next number its type can hold, up or down at random; zeros stay."""
    generator = torch.Generator().manual_seed(derive(seed, "nudge"))
    for p in model.parameters():
        up = torch.rand(p.shape, generator=generator) < 0.5
        towards = torch.where(up, torch.inf, -torch.inf).to(p.dtype)
        p.copy_(torch.where(p == 0, p, torch.nextafter(p, towards)))
