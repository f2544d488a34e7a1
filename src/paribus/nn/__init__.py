"""Parts of language models, and what builds and checks them.

Every part is an ordinary ``nn.Module``; names are imported when first used.
"""

import importlib
from typing import Any

_HOMES = {
    "attention": ("Attention",),
    "block": ("PostNorm", "PreNorm", "Sandwich"),
    "catalogue": ("Part", "discover_parts"),
    "checks": ("Check", "check_part", "require_part"),
    "contract": ("build", "build_model", "roles"),
    "init": ("Embedding", "Linear", "reset_children"),
    "mlp": ("MLP", "GatedMLP", "gated_width", "gelu", "gelu_tanh", "relu", "relu_squared", "silu"),
    "norm": ("DyT", "LayerNorm", "NoNorm", "RMSNorm", "ScaleNorm", "cast_then_gain", "gain_then_cast"),
    "position": ("ALiBi", "Learned", "NoPosition", "Position", "RoPE", "Sinusoidal"),
    "recipes": ("gpt2", "llama"),
    "scaling": ("LinearScaling", "NTKScaling", "YaRNScaling"),
    "transformer": ("Transformer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
