"""Where an interrupted run goes on, and the weights it ends with: plain tensors, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paribus.errors import StoreError
from paribus.store.files import write_bytes


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, and lists and dicts of these).

    Raises StoreError when it cannot be written; an older checkpoint at ``path`` then stays.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state at ``path``, or None where there is none. No code from the file is run.

    Raises StoreError for a damaged file.
    """
    return _unpack(path, str(path)) if path.exists() else None


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the ``state_dict`` of ``model`` as tensors of the CPU: 4 bytes a float32 parameter, and its buffers.

    Raises StoreError when it cannot be written; what lay at ``path`` then stays.
    """
    save_checkpoint(path, {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})


def load_weights(content: bytes, model: nn.Module, what: str) -> None:
    """Give ``model`` the weights that ``save_weights`` wrote. No code in ``content`` is run.

    Raises StoreError, which calls ``content`` what ``what`` says, where it is damaged or of another model.
    """
    state = _unpack(io.BytesIO(content), what)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise StoreError(f"{what} holds the weights of another model: {str(error).splitlines()[-1].strip()}") from None


def _unpack(content: Any, what: str) -> dict[str, Any]:
    try:
        return torch.load(content, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a damaged zip or a refused pickle
        why = str(error).splitlines()[0]
        raise StoreError(f"{what} is damaged ({why}); delete its folder and run again") from None
