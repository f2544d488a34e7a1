"""Parts of language models, and what builds and checks them.

Every part is an ordinary ``nn.Module``; names are imported when first used.
"""

import importlib
from typing import Any

_HOMES = {
    "attention": ("Attention",),
    "balance": ("LoadBalance", "RouterZ", "SequenceBalance"),
    "block": ("PostNorm", "PreNorm", "Sandwich"),
    "catalogue": ("Part", "discover_parts", "offered_parts"),
    "checks": ("Check", "check_part", "require_part"),
    "contract": ("TokenIds", "build", "build_model", "roles"),
    "experts": ("Experts", "GatedExperts"),
    "hypermixer": ("HyperMixer", "LinearAttention", "identity"),
    "init": ("Embedding", "Linear", "reset_children"),
    "latent": ("LatentAttention",),
    "mlp": ("MLP", "GatedMLP", "gated_width", "gelu", "gelu_tanh", "relu", "relu_squared", "silu"),
    "moe": ("MoE",),
    "norm": ("DyT", "LayerNorm", "NoNorm", "RMSNorm", "ScaleNorm", "cast_then_gain", "gain_then_cast"),
    "position": ("ALiBi", "Learned", "NoPosition", "Position", "RoPE", "Sinusoidal", "half_split", "interleaved"),
    "recipes": ("deepseek_v3", "gpt2", "llama", "mixtral", "tile"),
    "recurrence": ("HRM", "LoopedTransformer", "add_input", "full", "last_cycle", "one_step"),
    "recurrent_recipes": ("hrm", "looped"),
    "router": ("ExpertChoice", "Hash", "NoisyTopK", "Routing", "TopK", "sigmoid", "softmax"),
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
