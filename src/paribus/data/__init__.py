"""Tokens in, batches out: corpora, tokenizers, the split by document, and ``batch(seed, step)``. No torch."""

import importlib
from typing import Any

_HOMES = {
    "BPE": "tokenization",
    "Bytes": "tokenization",
    "Corpus": "tokens",
    "Evaluation": "evaluation",
    "Pretrained": "tokenization",
    "Text": "corpora",
    "measure_overlap": "leakage",
    "prepare": "preparation",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
