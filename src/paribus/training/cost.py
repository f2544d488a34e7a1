"""What a model costs: parameters by kind, and floating-point operations per token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from paribus.training.loop import gather_auxiliary, model_loss


def count_parameters(model: nn.Module, roles: Mapping[str, str]) -> dict[str, float]:
    """Parameters in total, and those of them that are norms' and embeddings' (a tied head is an embedding).

    Active are those that an average token uses: all but the ``idle_parameters()`` of the modules that have them.
    Norms of blocks are those below a block, without the model's final norm.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    modules = dict(model.named_modules())
    idle = sum(module.idle_parameters() for module in modules.values() if hasattr(module, "idle_parameters"))
    blocks = tuple(f"{path}." for path, module in modules.items() if getattr(module, "paribus_slot", None) == "block")

    def total(role: str, below: tuple[str, ...] = ("",)) -> float:
        return float(sum(size for name, size in sizes.items() if roles[name] == role and name.startswith(below)))

    return {
        "parameters": float(sum(sizes.values())),
        "active_parameters": float(sum(sizes.values()) - idle),
        "norm_parameters": total("norm"),
        "block_norm_parameters": total("norm", below=blocks),
        "embedding_parameters": total("embedding"),
    }


def count_flops(model: nn.Module, seq_len: int, device: str = "cpu") -> dict[str, float]:
    """Floating-point operations per token, counted on one window of ``seq_len`` tokens; 2 per multiply-add.

    Matrix products and attention count, elementwise work does not; causal attention counts as full, and by its
    formula: what a kernel computes twice to save memory counts once.
    """
    tokens = torch.zeros((1, seq_len), dtype=torch.long, device=device)
    # Attention in plain products: the count would otherwise be that of the kernel which the device happens to choose.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward, torch.no_grad():
        model(tokens)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as training:
        loss = model_loss(model, tokens, tokens)
        (loss + sum(gather_auxiliary(model).values())).backward()
    model.zero_grad()
    return {
        "forward_flops_per_token": forward.get_total_flops() / seq_len,
        "training_flops_per_token": training.get_total_flops() / seq_len,
    }
