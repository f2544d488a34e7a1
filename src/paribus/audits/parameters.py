"""Parameters that no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from paribus.audits.probes import draw_tokens, fixed_noise, randomize
from paribus.records import Finding
from paribus.training.loop import gather_auxiliary, model_loss

_BATCHES = 3
_ROWS = 4
_SHOWN = 4


def find_dead_parameters(arm: str, model: nn.Module, vocab_size: int, length: int) -> Iterator[Finding]:
    """Tensors without a gradient on several batches, each with its own random weights; and frozen ones.

    A tensor with a gradient anywhere in it is alive: positions beyond the window, or rare tokens, are not dead.
    The weights of ``model`` are lost.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    silent = [name for name in sizes if name not in frozen]
    for draw in range(_BATCHES):
        if not silent:
            break
        reached = _reached(model, vocab_size, length, draw)
        silent = [name for name in silent if name not in reached]
    if silent:
        yield _finding(
            "doubt",
            arm,
            silent,
            sizes,
            f"get no gradient on {_BATCHES} batches",
            "remove them, or use them: they count as parameters and do nothing",
        )
    if frozen:
        yield _finding("note", arm, frozen, sizes, "are frozen", "say so in the report: they are never trained")


def _reached(model: nn.Module, vocab_size: int, length: int, draw: int) -> set[str]:
    randomize(model, draw)
    model.train().zero_grad()
    tokens = draw_tokens(vocab_size, _ROWS, length + 1, seed=draw)
    with fixed_noise(draw):
        loss = model_loss(model, tokens[:, :-1], tokens[:, 1:])
        (loss + sum(gather_auxiliary(model).values())).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    model.zero_grad()
    return reached


def _finding(severity: str, arm: str, names: list[str], sizes: dict[str, int], what: str, remedy: str) -> Finding:
    count, total = sum(sizes[name] for name in names), sum(sizes.values())
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return Finding(
        check="dead parameters",
        severity=severity,
        message=f"{count:,} of the {total:,} parameters of {arm!r} {what}: {listed}",
        arm=arm,
        site=names[0].rpartition(".")[0],
        evidence={"parameters": count, "of": total, "tensors": names},
        remedy=remedy,
    )
