"""The training recipe that all arms of a study share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import optional

from paribus.design.fields import count, known_fields, must_be, number, one_of
from paribus.design.plain import fields_to_plain
from paribus.design.specs import Spec
from paribus.design.trees import Change, Tree, differences
from paribus.errors import StudyError


def _is_positive_or_none(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    number(_, field, value)
    if not (math.isfinite(value) and value > 0):
        raise StudyError(f"{field.name} must be positive or None, got {value}")


@known_fields
@frozen(kw_only=True)
class Training:
    """The recipe all arms share. A step is an optimizer step.

    Args:
        tokens: training tokens in total; ``tokens // batch_tokens`` steps.
        batch_tokens: tokens per step.
        micro_batch_tokens: tokens per forward pass; gradients of a step are accumulated. None: one pass.
        optimizer: spec of a ``torch.optim`` class, or of ``MuonAdamW``.
        schedule: spec of a learning-rate schedule. None: cosine to zero after 5 % warm-up.
        clip: largest gradient norm; None leaves gradients as they are.
        precision: "fp32", or "bf16" (autocast; weights stay in fp32).
        evaluations: how often the model is scored on held-out tokens, the end included, evenly spaced.
        evaluation_tokens: held-out tokens that are scored at the end, at most; always the same ones.
        curve_tokens: those of them, one window at least, that are scored before training, on the way and at the end:
            the loss curve.
        averaged: share of the steps, the last ones, whose weights are averaged, evenly, into those of the final score.
            0: the last step's are scored. Buffers are always the last step's, and so are the weights of the loss
            curve. What ``after_step()`` of a part holds of its weights need not hold of their average.
        evaluation_side: "validation", or "confirm" for the documents held back from the start.
        target_loss: held-out loss of the curve whose first crossing is reported in steps, tokens and seconds.
        compile: train through ``torch.compile``, block by block; scoring, and parts with ``idle_parameters()``, run as
            written. A process compiles each arm once, in its first step there, whose seconds count as training.
    """

    tokens: int = field(validator=count())
    batch_tokens: int = field(validator=count())
    seq_len: int = field(validator=count())
    optimizer: Spec = field(validator=must_be(Tree, "a spec", "spec(torch.optim.AdamW, lr=...)"))
    micro_batch_tokens: int | None = field(default=None, validator=optional(count()))
    schedule: Spec | None = field(
        default=None, validator=optional(must_be(Tree, "a spec", "spec(paribus.training.Linear)"))
    )
    clip: float | None = field(default=1.0, validator=_is_positive_or_none)
    precision: str = field(default="fp32", validator=one_of("fp32", "bf16"))
    evaluations: int = field(default=5, validator=count())
    evaluation_tokens: int = field(default=32_768, validator=count())
    curve_tokens: int = field(default=4_096, validator=count())
    evaluation_side: str = field(default="validation", validator=one_of("validation", "confirm"))
    target_loss: float | None = None
    averaged: float = field(default=0.0, validator=number)
    compile: bool = field(default=False, validator=one_of(True, False))

    def __attrs_post_init__(self) -> None:
        micro = self.micro_batch_tokens or self.batch_tokens
        if micro % self.seq_len or self.batch_tokens % micro:
            raise StudyError(
                f"batch_tokens {self.batch_tokens} must be a multiple of micro_batch_tokens {micro}, "
                f"and that of seq_len {self.seq_len}"
            )
        if self.steps < 1:
            raise StudyError(f"tokens {self.tokens} is less than one step of batch_tokens {self.batch_tokens}")
        if self.evaluations > self.steps:
            raise StudyError(f"evaluations {self.evaluations} is more than the {self.steps} steps")
        if not (0 <= self.averaged <= 1) or (self.averaged and self.averaged_steps < 2):
            raise StudyError(
                f"averaged is a share of the {self.steps} steps that holds two of them at least, or 0, "
                f"got {self.averaged}"
            )

    @property
    def steps(self) -> int:
        """Optimizer steps of one run."""
        return self.tokens // self.batch_tokens

    @property
    def trained_tokens(self) -> int:
        """Tokens of one run: those of whole steps, ``tokens`` rounded down."""
        return self.steps * self.batch_tokens

    @property
    def averaged_steps(self) -> int:
        """Steps whose weights are averaged for the last score."""
        return round(self.averaged * self.steps)

    def replace(self, **changes: Any) -> Training:
        """This recipe with some fields changed."""
        return attrs.evolve(self, **changes)

    def diff(self, other: Training) -> tuple[Change, ...]:
        """The fields that differ, as changes under ``training.``."""
        names = [field.name for field in attrs.fields(Training)]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        differing = [pair for pair in pairs if isinstance(pair[1], Spec) or pair[1] != pair[2]]  # clip 1 is clip 1.0
        return tuple(
            change for name, mine, theirs in differing for change in differences(mine, theirs, f"training.{name}")
        )

    def to_json(self) -> dict[str, Any]:
        """Field names to plain values; specs as their JSON."""
        return fields_to_plain(self)

    @staticmethod
    def from_json(data: Mapping[str, Any], read: Callable[[dict[str, Any]], Tree] = Spec.from_json) -> Training:
        """The recipe that ``to_json`` wrote.

        ``read`` makes a spec of its JSON; with ``SpecName.from_json`` nothing is imported, and ``optimizer`` and
        ``schedule`` are names.
        """
        fields: dict[str, Any] = {k: read(v) if isinstance(v, dict) else v for k, v in data.items()}
        return Training(**fields)
