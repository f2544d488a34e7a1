"""What a model costs: parameters by kind, and floating-point operations per token."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import flop_registry

from paribus.nn.operations import WatchOperations
from paribus.nn.slots import parts_of
from paribus.training.objective import cross_entropy, model_loss
from paribus.training.step import gather_auxiliary


def count_parameters(model: nn.Module, roles: Mapping[str, str]) -> dict[str, float]:
    """Parameters in total, and those of them that are norms' and embeddings' (a tied head is an embedding).

    Active are those that an average token uses: all but the ``idle_parameters()`` of the modules that have them.
    Norms of blocks are those below a block, without the model's final norm.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    modules = dict(model.named_modules())
    idle = sum(module.idle_parameters() for module in modules.values() if hasattr(module, "idle_parameters"))
    blocks = tuple(f"{path}." for path in parts_of(model, "block"))

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
    total = 0

    def add(func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """By torch's formulas, as FlopCounterMode does, without looking into modules."""
        nonlocal total
        if formula := flop_registry.get(func.overloadpacket):
            total += formula(*args, **kwargs, out_val=out)

    tokens = torch.zeros((1, seq_len), dtype=torch.long, device=device)
    has_own_loss = hasattr(model, "loss")  # which need not begin with the forward pass
    # Attention in plain products: the count would otherwise be that of the kernel which the device happens to choose.
    with sdpa_kernel(SDPBackend.MATH), WatchOperations(add):
        with torch.set_grad_enabled(not has_own_loss):
            logits = model(tokens)
        forward = total
        loss = model_loss(model, tokens, tokens) if has_own_loss else cross_entropy(logits, tokens)
        (loss + sum(gather_auxiliary(model).values())).backward()
        training = total - (forward if has_own_loss else 0)
    model.zero_grad()
    return {"forward_flops_per_token": forward / seq_len, "training_flops_per_token": training / seq_len}


class PeakMemory:
    """Largest memory from here to ``read()``: of the GPU where there is one, else of this process."""

    def __init__(self, device: str):
        self.device = device
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is that of the process so far
            Path("/proc/self/clear_refs").write_text("5")

    def read(self) -> int:
        if self.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated()
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
