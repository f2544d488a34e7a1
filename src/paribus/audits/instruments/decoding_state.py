"""How much a model keeps of a sequence while it writes on: the state that decoding carries from token to token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.errors import PartError
from paribus.nn.contract import build_model
from paribus.nn.slots import parts_of

_SMALL = 20_000_000  # parameters of a model that is built to step its mixers
_STEPPED = 128  # tokens that a mixer is given one by one; beyond, its state goes on as in the second half of them


@contextmanager
def counting_calls(model: nn.Module) -> Iterator[dict[str, int]]:
    """How often the first forward pass inside runs each mixer, by path: a loop keeps a state for every round."""
    mixers = parts_of(model, "mixer")
    calls = dict.fromkeys(mixers, 0)
    done = False

    def count(path: str) -> None:
        if not done:
            calls[path] += 1

    def finish(*_: Any) -> None:
        nonlocal done
        done = True

    handles = [
        m.register_forward_hook(lambda *_, path=path: count(path)) for path, m in parts_of(model, "mixer").items()
    ]
    handles.append(model.register_forward_hook(finish))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def measure_state(model: Spec, calls: Mapping[str, int], vocab_size: int, seq_len: int) -> int | None:
    """Numbers that all mixers together keep of a sequence of ``seq_len`` tokens; None where one does not tell.

    A mixer tells by ``state_size(seq_len) -> int``; else its ``step(x, state)`` is asked, token by token, in a model of
    up to 20 million parameters, which has to be built for that.
    Raises PartError, with the site, where ``state_size`` gives no whole number.
    """
    sizes = {"vocab_size": vocab_size, "seq_len": seq_len}
    built = build_model(model, 0, **sizes, device="meta")
    mixers = parts_of(built, "mixer")
    untold = [path for path, mixer in mixers.items() if not callable(getattr(mixer, "state_size", None))]
    if not mixers or any(not callable(getattr(mixers[path], "step", None)) for path in untold):
        return None
    if untold and sum(p.numel() for p in built.parameters()) > _SMALL:
        return None
    told = {path: _told_size(path, mixer, seq_len) for path, mixer in mixers.items() if path not in untold}
    stepped = _step_sizes(build_model(model, 0, **sizes), untold, vocab_size, seq_len) if untold else {}
    found = {**told, **stepped}
    known = {path: size for path, size in found.items() if size is not None}
    return sum(size * calls.get(path, 1) for path, size in known.items()) if known.keys() == found.keys() else None


def _told_size(path: str, mixer: Any, seq_len: int) -> int:
    size = mixer.state_size(seq_len)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise PartError(f"state_size({seq_len}) of {type(mixer).__name__} gives {size!r}, not a count [site {path}]")
    return size


@torch.no_grad()
def _step_sizes(model: nn.Module, paths: list[str], vocab_size: int, seq_len: int) -> dict[str, int | None]:
    """The sizes of the states that ``step`` returns; None for a mixer that cannot be stepped."""
    inputs: dict[str, Tensor] = {}

    def keep(path: str, given: tuple[Tensor, ...]) -> None:
        if given and path not in inputs:
            inputs[path] = given[0][:, :_STEPPED]

    model.eval()
    mixers = {path: model.get_submodule(path) for path in paths}
    handles = [
        mixer.register_forward_pre_hook(lambda _, given, path=path: keep(path, given)) for path, mixer in mixers.items()
    ]
    model(torch.arange(seq_len).remainder(vocab_size)[None])
    for handle in handles:
        handle.remove()
    return {path: _step_size(mixer, inputs.get(path), seq_len) for path, mixer in mixers.items()}


def _step_size(mixer: Any, x: Tensor | None, seq_len: int) -> int | None:
    if x is None:
        return None
    state, sizes = None, []
    try:
        for t in range(x.shape[1]):
            _, state = mixer.step(x[:, t : t + 1], state)
            sizes.append(count_numbers(state))
    except Exception:  # conformance tells what is wrong with it
        return None
    half = len(sizes) // 2
    if len(sizes) == seq_len or not half:
        return sizes[-1]
    return round(sizes[-1] + (sizes[-1] - sizes[half - 1]) / (len(sizes) - half) * (seq_len - len(sizes)))


def count_numbers(state: Any) -> int:
    """Numbers in tensors, lists, tuples and dicts of them; a number of its own counts as one."""
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, Mapping):
        return sum(map(count_numbers, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(count_numbers, state))
    return int(isinstance(state, int | float) and not isinstance(state, bool))
