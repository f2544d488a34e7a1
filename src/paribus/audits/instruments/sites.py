"""Which site of a model something belongs to: a module, a wrong shape, a forward pass that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from paribus.errors import ParibusError, PartError
from paribus.nn.slots import SLOTS, parts_of


def is_ours(cls: type) -> bool:
    """Whether ``cls`` is a part of paribus, which the suite of ``paribus.nn`` has seen."""
    return f"{cls.__module__}.".startswith("paribus.nn.")


def is_foreign(cls: type) -> bool:
    """Whether ``cls`` is neither torch's nor paribus's: a class of the user's own, or of a package of theirs."""
    return not f"{cls.__module__}.".startswith(("torch.", "paribus."))


@contextmanager
def naming_site(model: nn.Module, vocab_size: int) -> Iterator[dict[str, str]]:
    """Name the site when a forward pass inside fails; yields what is wrong with the shapes, by path, as it is seen.

    Raises PartError that names the first site whose output has a wrong shape, else the innermost one that was running.
    """
    wrong: dict[str, str] = {}
    parts = parts_of(model)
    handles = [
        part.register_forward_hook(_shape_hook(path, vocab_size, wrong), with_kwargs=True)
        for path, part in parts.items()
    ]
    try:
        yield wrong
    except Exception as error:
        for path, what in wrong.items():
            raise PartError(f"{_place(path, parts[path])}: {what}") from error
        running = _innermost(parts, error.__traceback__)
        if running is None or isinstance(error, ParibusError):
            raise
        raise PartError(f"{_place(running, parts[running])}: {first_line(error)}") from error
    finally:
        for handle in handles:
            handle.remove()


def first_line(error: Exception) -> str:
    """``Type: message``, without the lines that may follow."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _place(path: str, part: nn.Module) -> str:
    return f"site {path or 'model'} ({type(part).__name__})"


def _shape_hook(path: str, vocab_size: int, wrong: dict[str, str]) -> Callable[..., None]:
    def compare(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
        if given is None or path in wrong:
            return
        slot = SLOTS.get(str(part.paribus_slot))
        if part.paribus_slot == "model":
            expected = (*given.shape, vocab_size)
        elif slot is not None and slot.keeps_shape:
            expected = tuple(given.shape)
        else:
            return
        if not isinstance(output, Tensor):
            wrong[path] = f"forward returns a {type(output).__name__}, expected one tensor {expected}"
        elif tuple(output.shape) != expected:
            wrong[path] = f"forward returns {tuple(output.shape)} for {tuple(given.shape)}, expected {expected}"

    return compare


def _innermost(parts: dict[str, nn.Module], frames: TracebackType | None) -> str | None:
    """Path of the part in whose methods the last of ``frames`` lies; a position is asked without its forward."""
    path_of = {id(part): path for path, part in parts.items()}
    found = None
    while frames is not None:
        found = path_of.get(id(frames.tb_frame.f_locals.get("self")), found)
        frames = frames.tb_next
    return found
