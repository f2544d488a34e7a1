"""Train any module on any batches. Knows no part and no corpus."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Constant": "schedule",
    "Cosine": "schedule",
    "Linear": "schedule",
    "MuonAdamW": "optim",
    "WarmupStableDecay": "schedule",
    "evaluate": "evaluation",
    "generate": "generation",
    "measure_decoding": "generation",
    "train": "loop",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
