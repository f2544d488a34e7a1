"""Where random numbers come from: a stream that is entered and left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Inside, torch draws from ``seed``, on the CPU and on ``device``; outside, its generators go on as before."""
    gpus = list(range(torch.cuda.device_count())) if device == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        # torch.manual_seed moves the generators of all accelerators, of which fork_rng puts back those it was given.
        (torch.default_generator.manual_seed if device == "cpu" else torch.manual_seed)(seed)
        yield
