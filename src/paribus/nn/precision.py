"""Where arithmetic is more exact than its surroundings: in parts under autocast, and in probes for 1e-9."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def at_least_float32(x: Tensor) -> torch.dtype:
    """The type of ``x``, or float32 where that is narrower."""
    return torch.promote_types(x.dtype, torch.float32)


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Inside, what is computed on the device of ``x`` keeps its type; autocast knows no meta device."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


@contextmanager
def float64_arithmetic() -> Iterator[None]:
    """Inside, new tensors are float64 and a part's own casts from float64 to float32 are left out."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _KeepFloat64():
            yield
    finally:
        torch.set_default_dtype(usual)


class _KeepFloat64(TorchDispatchMode):
    """Skips casts to float32: they are for speed, and would hide 1e-9 behind rounding."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and the wrapper would double the time of a small model

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_cast = func is torch.ops.aten._to_copy.default and args[0].dtype is torch.float64
        if is_cast and kwargs.get("dtype") is torch.float32:
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)
