"""Watch the operations of torch that run, or change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

See = Callable[[Any, Any, Any, Any], None]
"""An operation, its arguments, its keywords and its result."""


class EagerMode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, and the wrapper would double the time of a small model


class WatchOperations(EagerMode):
    """Inside, ``see`` is called after every operation.

    An operation that takes functions (torch.cond) is an error of torch.
    """

    def __init__(self, see: See):
        super().__init__()
        self.see = see

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.see(func, args, kwargs, out)
        return out
