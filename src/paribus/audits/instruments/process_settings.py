"""What a part can move that is not its own: settings of the whole process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def _set_deterministic(wanted: bool) -> None:
    torch.use_deterministic_algorithms(wanted)


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    "TF32 of cuDNN": (
        lambda: torch.backends.cudnn.allow_tf32,
        lambda wanted: setattr(torch.backends.cudnn, "allow_tf32", wanted),
        True,
    ),
    "cuDNN benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda wanted: setattr(torch.backends.cudnn, "benchmark", wanted),
        False,
    ),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, _set_deterministic, False),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled, True),
    "threads": (torch.get_num_threads, torch.set_num_threads, None),
}
"""Name to how it is read, how it is set, and what torch starts with; None where that is the machine's affair."""


@contextmanager
def plain_settings() -> Iterator[dict[str, str]]:
    """Inside, torch is set as it starts; yields a dict that is filled at the end with what was moved inside.

    Afterwards everything is as it was before. What an earlier construction had already moved is thus seen again.
    """
    before = {name: read() for name, (read, _, _) in _SETTINGS.items()}
    moved: dict[str, str] = {}
    for name, (_, write, start) in _SETTINGS.items():
        if start is not None and before[name] != start:
            write(start)
    plain = {name: read() for name, (read, _, _) in _SETTINGS.items()}
    try:
        yield moved
    finally:
        for name, (read, write, _) in _SETTINGS.items():
            if (now := read()) != plain[name]:
                moved[name] = f"{plain[name]} -> {now}"
            if now != before[name]:
                write(before[name])
