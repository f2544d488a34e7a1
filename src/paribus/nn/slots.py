"""The slots of a model: what may stand where.

A new slot is one row of ``SLOTS``, a part with that ``SLOT`` and one that builds it. ``nn/conformance/subjects.py``
says what its parts are tried on, unless they keep their shape; ``nn/conformance/slot_finder.py`` by what they are told
from others; docs/extending.md has an example of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slot:
    """A kind of place in a model.

    Args:
        shapes: "input -> output" of the forward pass of its parts, or the methods they have instead.
        sites: pattern of the sites in a recipe of paribus; "" where it has none, or its spec is the whole.
        role: the optimizer's role of all its tensors; None where the shape of each decides.
        mixes_tokens: whether the output at a token may depend on the tokens before it.
        steps: whether a part may take one token after the other, by ``step(x, state) -> (y, state)``.
    """

    shapes: str
    sites: str = ""
    role: str | None = None
    mixes_tokens: bool = False
    steps: bool = False

    @property
    def keeps_shape(self) -> bool:
        read, _, returned = self.shapes.partition(" -> ")
        return read == returned


SLOTS = {
    "norm": Slot("(..., D) -> (..., D)", "*norm", role="norm"),
    "mlp": Slot("(B, T, D) -> (B, T, D)", "*.mlp"),
    "router": Slot("(B, T, D) -> Routing", "*.router"),
    "mixer": Slot("(B, T, D) -> (B, T, D)", "*.mixer", mixes_tokens=True, steps=True),
    "block": Slot("(B, T, D) -> (B, T, D)", "blocks.*", mixes_tokens=True),
    "position": Slot("embed(x), rotate(q, k), bias(t), softmax_scale", "position", role="embedding"),
    "model": Slot("(B, T) -> (B, T, V)", mixes_tokens=True),
    "head": Slot("(B, T, D) -> (B, T, V)", role="head"),
}
"""Name, as in ``build(..., slot=name)`` and in a part's ``paribus_slot``, to what is known of the slot."""


def parts_of(model: Any, slot: str | None = None) -> dict[str, Any]:
    """The modules of ``model`` that fill ``slot``, or any slot, by path; owners first."""
    filled = {path: (getattr(part, "paribus_slot", None), part) for path, part in model.named_modules()}
    return {path: part for path, (name, part) in filled.items() if name and slot in (None, name)}


def takes_steps(part: Any) -> bool:
    """Whether ``part`` fills a slot in which it may take one token after the other, and does."""
    slot = SLOTS.get(getattr(part, "paribus_slot", None) or "")
    return slot is not None and slot.steps and callable(getattr(part, "step", None))
