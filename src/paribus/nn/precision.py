"""Where arithmetic is more exact than its surroundings: in parts under autocast, and in probes for 1e-9."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from paribus.nn.operations import EagerMode, WatchOperations


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


@contextmanager
def watch_precision() -> Iterator[set[str]]:
    """The names of the floating point types that are computed in inside; a complex type counts as its real one.

    Whole numbers that are turned into floating point ones do not count.
    """
    seen: set[str] = set()

    def see(func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if func is torch.ops.aten._to_copy.default and not (args[0].is_floating_point() or args[0].is_complex()):
            return
        for result in out if isinstance(out, list | tuple) else (out,):
            if isinstance(result, Tensor) and (result.is_floating_point() or result.is_complex()):
                seen.add(torch.finfo(result.dtype).dtype)

    with WatchOperations(see):
        yield seen


class _KeepFloat64(EagerMode):
    """Skips casts to float32: they are for speed, and would hide 1e-9 behind rounding."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_cast = func is torch.ops.aten._to_copy.default and args[0].dtype is torch.float64
        if is_cast and kwargs.get("dtype") is torch.float32:
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)
