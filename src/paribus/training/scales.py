"""The recipes of the built-in studies, at their two scales."""

from __future__ import annotations

from typing import Any

from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.training.optim import MuonAdamW
from paribus.training.schedule import Cosine


def quick_recipe(**changes: Any) -> Training:
    """The recipe of the quick scale with some fields changed: 100 steps of 2,048 tokens, for two CPU cores.

    docs/quick_scale.md says how size, batch and rates were chosen, with the measured noise.
    """
    recipe = Training(
        tokens=100 * 2048,
        batch_tokens=2048,
        seq_len=128,
        evaluations=3,
        optimizer=spec(MuonAdamW, lr=0.02, adamw_lr=0.01),
    )
    return recipe.replace(**changes)


def paper_recipe(windows: int, seq_len: int, **changes: Any) -> Training:
    """The recipe of the published comparisons: 1,000 forward passes of ``windows`` windows, four to a step."""
    recipe = Training(
        tokens=250 * 4 * windows * seq_len,
        batch_tokens=4 * windows * seq_len,
        micro_batch_tokens=windows * seq_len,
        seq_len=seq_len,
        optimizer=spec(MuonAdamW, lr=0.01, adamw_lr=0.001, adamw_betas=(0.9, 0.999), adamw_weight_decay=0.1),
        schedule=spec(Cosine, warmup=0.05, floor=0.1),
    )
    return recipe.replace(**changes)
