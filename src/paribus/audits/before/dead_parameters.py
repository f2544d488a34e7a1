"""Parameters that no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltArm
from paribus.audits.checks import Check
from paribus.audits.instruments.models import draw_tokens, fixed_noise, randomize
from paribus.audits.instruments.sites import is_ours, naming_site
from paribus.design.trees import lies_under
from paribus.design.wording import list_some
from paribus.nn.slots import parts_of
from paribus.store.records import Finding
from paribus.training.step import accumulate_gradients

_BATCHES = 3
_ROWS = 4


def _look_for_dead_parameters(arm: BuiltArm) -> Iterator[Finding]:
    probe = arm.probe
    with naming_site(probe.model, probe.vocab_size):
        yield from find_dead_parameters(arm.name, probe.model, probe.vocab_size, probe.length)


DEAD_PARAMETERS = Check[BuiltArm](
    name="dead parameters",
    when="before",
    severities=("note", "doubt"),
    sees="A tensor that gets no gradient at all on three batches, each with its own random weights (doubt). A frozen "
    "tensor, or a slice of a stack that gets none, such as one expert (note).",
    misses="A dead part of a matrix, such as one unit. A gradient of rounding size. A tensor that dies in training.",
    cost="one to three forward and backward passes over four short sequences",
    needs="model",
    find=_look_for_dead_parameters,
)


def find_dead_parameters(arm: str, model: nn.Module, vocab_size: int, length: int) -> Iterator[Finding]:
    """Tensors without a gradient on several batches, each with its own random weights; and frozen ones.

    A matrix with a gradient anywhere in it is alive: positions beyond the window, or rare tokens, are not dead. Of a
    stack of matrices each must have one, and an expert that has none is told. The weights of ``model`` are lost.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    unreached = {name: _slices(p, True) for name, p in model.named_parameters() if name not in frozen}
    for draw in range(_BATCHES):
        if not unreached:
            break
        reached = _reached(model, vocab_size, length, draw)
        unreached = {name: left for name, was in unreached.items() if (left := was & ~reached[name]).any()}
    silent = [name for name, left in unreached.items() if left.all()]
    stacks = {name: left.nonzero().flatten().tolist() for name, left in unreached.items() if not left.all()}
    if silent:
        yield _finding(
            "doubt",
            arm,
            _blame(model, silent),
            silent,
            sizes,
            f"get no gradient on {_BATCHES} batches",
            "remove them, or use them: they count as parameters and do nothing",
        )
    if stacks:
        yield _idle_slices(arm, model, stacks, sizes)
    if frozen:
        site = frozen[0].rpartition(".")[0]
        yield _finding("note", arm, site, frozen, sizes, "are frozen", "say so in the report: they are never trained")


def _reached(model: nn.Module, vocab_size: int, length: int, draw: int) -> dict[str, Tensor]:
    """Which slices of each tensor get a gradient on one batch."""
    randomize(model, draw)
    model.train().zero_grad()
    tokens = draw_tokens(vocab_size, _ROWS, length + 1, seed=draw)
    with fixed_noise(draw):
        accumulate_gradients(model, tokens[:, :-1], tokens[:, 1:], _ROWS)
    reached = {
        name: _slices(p, False) if p.grad is None else p.grad.flatten(1).any(1) if p.ndim > 2 else p.grad.any()[None]
        for name, p in model.named_parameters()
    }
    model.zero_grad()
    return reached


def _slices(p: Tensor, value: bool) -> Tensor:
    """``value`` for each matrix of a stack, or once for any other tensor."""
    return torch.full((len(p) if p.ndim > 2 else 1,), value)


def _idle_slices(arm: str, model: nn.Module, stacks: dict[str, list[int]], sizes: dict[str, int]) -> Finding:
    lengths = {name: len(p) for name, p in model.named_parameters() if name in stacks}
    told = [f"{name}[{list_some(slices)}]" for name, slices in stacks.items()]
    count = sum(sizes[name] // lengths[name] * len(slices) for name, slices in stacks.items())
    return Finding(
        check="dead parameters",
        severity="note",
        message=f"{count:,} of the {sum(sizes.values()):,} parameters of {arm!r} are slices of a stack that get no "
        f"gradient on {_BATCHES} batches: {list_some(told)}",
        arm=arm,
        site=next(iter(stacks)).rpartition(".")[0] or "model",
        evidence={"parameters": count, "of": sum(sizes.values()), "slices": stacks},
        remedy="see whether these experts can be chosen at all; a rare one may only have had no token here",
    )


def _blame(model: nn.Module, names: list[str]) -> str:
    """The first part of the user's that holds some of the dead tensors ``names``; else the last in the first block.

    What stops a gradient silences all that feeds it, such as the norm before it, so the last to be silent is nearest.
    """
    parts = parts_of(model)
    dead = list(dict.fromkeys(max((p for p in parts if lies_under(name, p)), key=len) for name in names))
    if foreign := [path for path in dead if not is_ours(type(parts[path]))]:
        return foreign[0]
    of_block = ([path for path in dead if lies_under(path, block)] for block in parts_of(model, "block"))
    return next(filter(None, of_block), dead)[-1]


def _finding(
    severity: str, arm: str, site: str, names: list[str], sizes: dict[str, int], what: str, remedy: str
) -> Finding:
    count, total = sum(sizes[name] for name in names), sum(sizes.values())
    return Finding(
        check="dead parameters",
        severity=severity,
        message=f"{count:,} of the {total:,} parameters of {arm!r} {what}: {list_some(names)}",
        arm=arm,
        site=site or "model",
        evidence={"parameters": count, "of": total, "tensors": names},
        remedy=remedy,
    )
