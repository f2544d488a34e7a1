"""Does a model see the future, or other rows of its batch? Found by changing tokens and looking at the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.audits.probes import draw_tokens, forward_exactly, randomize
from paribus.audits.sites import site_of
from paribus.records import Finding
from paribus.specs import Spec

EXACT = 1e-9  # how far a logit may move in float64
_TRIALS = ((0, True), (0, False), (1, True))  # seed of weights and tokens, and whether in training mode

Keep = Callable[[Tensor], Tensor | None]
"""The part of an activation that must not move; None where the axes cannot be told."""


def find_leaks(arm: str, model: nn.Module, spec: Spec, vocab_size: int, length: int) -> Iterator[Finding]:
    """Look whether later tokens, or other rows, move what ``model`` (in float64) says.

    Both are tried in training and in evaluation mode: a norm over the batch leaks in training alone. The weights of
    ``model`` are lost.
    """
    leaks: dict[str, Finding] = {}
    for draw, training in _TRIALS:
        randomize(model, draw)
        model.train(training)
        tokens = draw_tokens(vocab_size, 2, length, seed=draw)
        if trouble := _untestable(arm, model, tokens, training):
            yield trouble
            break
        for before, probes in ((tokens[:1], _time_probes), (tokens, _row_probes)):
            said = forward_exactly(model, before)
            for probe in probes(before, vocab_size):
                moved = _largest(probe.keep(said) - probe.keep(forward_exactly(model, probe.after)))
                if moved > EXACT and probe.check not in leaks:
                    leaks[probe.check] = _leak(arm, model, spec, probe, moved, training)
    yield from leaks.values()


@dataclass(frozen=True)
class _Probe:
    """One experiment.

    Args:
        check: the check it belongs to.
        before, after: (B, T) tokens that differ in what must not matter.
        keep: cuts from an activation what must not move.
        said: what was changed and what must not move.
        evidence: the same in numbers.
    """

    check: str
    before: Tensor
    after: Tensor
    keep: Keep
    said: str
    evidence: dict[str, Any]


def _time_probes(tokens: Tensor, vocab_size: int) -> Iterator[_Probe]:
    """Change everything after t, for several t; and one single token in the middle."""
    length = tokens.shape[1]
    others = _other_tokens(tokens, vocab_size)
    for t in sorted({0, length // 3, length - 2}):
        if 0 <= t < length - 1:
            after = torch.cat((tokens[:, : t + 1], others[:, t + 1 :]), dim=1)
            said = f"changing the tokens after position {t} moves logits up to there"
            yield _Probe(
                "causality", tokens, after, _until(t, *tokens.shape), said, {"position": t, "changed": "all after"}
            )
    if (t := length // 2) > 0:
        after = tokens.clone()
        after[:, t] = others[:, t]
        said = f"changing the token at position {t} moves logits before it"
        yield _Probe(
            "causality", tokens, after, _until(t - 1, *tokens.shape), said, {"position": t, "changed": "this one"}
        )


def _row_probes(tokens: Tensor, vocab_size: int) -> Iterator[_Probe]:
    after = torch.cat((tokens[:1], _other_tokens(tokens[1:], vocab_size)))
    said = "changing one sequence of a batch moves the logits of another"
    yield _Probe("row leakage", tokens, after, _first_row(*tokens.shape), said, {"rows": 2})


def _other_tokens(tokens: Tensor, vocab_size: int) -> Tensor:
    """A different token everywhere."""
    generator = torch.Generator().manual_seed(0)
    return (tokens + torch.randint(1, max(2, vocab_size), tokens.shape, generator=generator)) % vocab_size


def _largest(difference: Tensor) -> float:
    return difference.abs().nan_to_num(nan=torch.inf).max().item()


def _until(t: int, rows: int, length: int) -> Keep:
    """Positions 0 to t of (B, T, ...), (B*T, ...) or (..., T, K)."""

    def keep(x: Tensor) -> Tensor | None:
        if x.ndim >= 2 and tuple(x.shape[:2]) == (rows, length):
            return x[:, : t + 1]
        if x.ndim >= 1 and x.shape[0] == rows * length:
            return x.unflatten(0, (rows, length))[:, : t + 1]
        if x.ndim >= 3 and x.shape[-2] == length:
            return x[..., : t + 1, :]
        return None

    return keep


def _first_row(rows: int, length: int) -> Keep:
    """The first row of (B, ...) or (B*T, ...)."""

    def keep(x: Tensor) -> Tensor | None:
        if x.ndim >= 1 and x.shape[0] in (rows, rows * length):
            return x[: x.shape[0] // rows]
        return None

    return keep


def _leak(arm: str, model: nn.Module, spec: Spec, probe: _Probe, moved: float, training: bool) -> Finding:
    path = _blame(model, probe)
    site = site_of(path, spec)
    cls = type(model.get_submodule(path)).__name__
    mode = "training" if training else "evaluation"
    remedy = {
        "causality": "mask the future in this part; an output may depend on its own and earlier tokens only",
        "row leakage": "keep sequences apart: no statistics, sorting or capacity over the batch",
    }[probe.check]
    return Finding(
        check=probe.check,
        severity="invalid",
        message=f"in {arm!r}, {probe.said} by {moved:.2g} in {mode} mode; it begins in {cls} at {path or 'model'}",
        arm=arm,
        site=site or path or "model",
        evidence={"moved": moved, "allowed": EXACT, "module": path, "class": cls, "mode": mode, **probe.evidence},
        remedy=remedy,
    )


def _blame(model: nn.Module, probe: _Probe) -> str:
    """Path of the innermost module whose inputs stay where its output moves, in order of the forward pass."""
    calls = zip(_watch(model, probe.before, probe.keep), _watch(model, probe.after, probe.keep), strict=False)
    for (path, inputs, outputs), (_, other_inputs, other_outputs) in calls:
        if inputs and outputs and not _moved(inputs, other_inputs) and _moved(outputs, other_outputs):
            return path
    return ""


def _watch(model: nn.Module, tokens: Tensor, keep: Keep) -> list[tuple[str, list[Tensor], list[Tensor]]]:
    """Every call of a module, innermost first: its path and what must not move of its inputs and outputs."""
    calls = []

    def hook(path: str) -> Any:
        def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.append((path, _kept((*args, *kwargs.values()), keep), _kept((output,), keep)))

        return record

    handles = [m.register_forward_hook(hook(path), with_kwargs=True) for path, m in model.named_modules()]
    try:
        forward_exactly(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _kept(values: Any, keep: Keep) -> list[Tensor]:
    flat = [item for value in values for item in (value if isinstance(value, tuple | list) else (value,))]
    kept = [keep(item) for item in flat if isinstance(item, Tensor)]
    return [item.clone() for item in kept if item is not None]


def _moved(left: list[Tensor], right: list[Tensor]) -> bool:
    if [x.shape for x in left] != [x.shape for x in right]:
        return True
    return any(x.numel() and _largest(x.double() - y.double()) > EXACT / 1e3 for x, y in zip(left, right, strict=True))


def _untestable(arm: str, model: nn.Module, tokens: Tensor, training: bool) -> Finding | None:
    """Why nothing can be learned from changing tokens, where that is so."""
    mode = "training" if training else "evaluation"
    try:
        once, twice = forward_exactly(model, tokens), forward_exactly(model, tokens)
    except Exception as error:  # it ran in float32: the user's part has an opinion on types
        why, number = f"it does not run in float64 ({type(error).__name__}: {str(error).splitlines()[0][:80]})", None
    else:
        if not once.isfinite().all():
            why, number = "its logits are not finite at random weights", float((~once.isfinite()).sum())
        elif (number := _largest(once - twice)) > EXACT:
            why = f"two equal passes under one random stream differ by {number:.2g} in {mode} mode"
        else:
            return None
    return Finding(
        check="causality",
        severity="doubt",
        message=f"whether {arm!r} sees the future cannot be told: {why}",
        arm=arm,
        evidence={"number": number, "mode": mode},
        remedy="draw noise from torch's default generator, keep no state between passes, take any floating type",
    )
