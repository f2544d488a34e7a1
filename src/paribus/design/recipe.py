"""The training recipe that all arms of a study share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paribus.design.fields import known_fields
from paribus.design.specs import Spec
from paribus.design.trees import Change, shorten
from paribus.errors import StudyError


@known_fields
@dataclass(frozen=True, kw_only=True)
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

    tokens: int
    batch_tokens: int
    seq_len: int
    optimizer: Spec
    micro_batch_tokens: int | None = None
    schedule: Spec | None = None
    clip: float | None = 1.0
    precision: str = "fp32"
    evaluations: int = 5
    evaluation_tokens: int = 32_768
    curve_tokens: int = 4_096
    evaluation_side: str = "validation"
    target_loss: float | None = None
    averaged: float = 0.0
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_tokens", "seq_len", "evaluations", "evaluation_tokens", "curve_tokens"):
            require_count(name, getattr(self, name))
        micro = self.micro_batch_tokens or self.batch_tokens
        require_count("micro_batch_tokens", micro)
        if micro % self.seq_len or self.batch_tokens % micro:
            raise StudyError(
                f"batch_tokens {self.batch_tokens} must be a multiple of micro_batch_tokens {micro}, "
                f"and that of seq_len {self.seq_len}"
            )
        if self.steps < 1:
            raise StudyError(f"tokens {self.tokens} is less than one step of batch_tokens {self.batch_tokens}")
        if self.evaluations > self.steps:
            raise StudyError(f"evaluations {self.evaluations} is more than the {self.steps} steps")
        if self.precision not in ("fp32", "bf16"):
            raise StudyError(f"precision is 'fp32' or 'bf16', got {self.precision!r}")
        if not isinstance(self.compile, bool):
            raise StudyError(f"compile is True or False, got {shorten(self.compile)}")
        if self.evaluation_side not in ("validation", "confirm"):
            raise StudyError(f"evaluation_side is 'validation' or 'confirm', got {self.evaluation_side!r}")
        require_number("averaged", self.averaged)
        if not (0 <= self.averaged <= 1) or (self.averaged and self.averaged_steps < 2):
            raise StudyError(
                f"averaged is a share of the {self.steps} steps that holds two of them at least, or 0, "
                f"got {self.averaged}"
            )
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise StudyError(f"clip must be positive or None, got {self.clip}")
        if not isinstance(self.optimizer, Spec):
            raise StudyError(
                f"optimizer must be a spec, got {shorten(self.optimizer)}; write spec(torch.optim.AdamW, lr=...)"
            )
        if not isinstance(self.schedule, Spec | None):
            raise StudyError(
                f"schedule must be a spec, got {shorten(self.schedule)}; write spec(paribus.training.Linear)"
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
        return dataclasses.replace(self, **changes)

    def diff(self, other: Training) -> tuple[Change, ...]:
        """The fields that differ, as changes under ``training.``."""
        changes = []
        for name in (f.name for f in dataclasses.fields(self)):
            before, after = getattr(self, name), getattr(other, name)
            if isinstance(before, Spec) and isinstance(after, Spec):
                inner = before.diff(after)
                changes += [
                    Change(f"training.{name}" + (f".{c.path}" if c.path else ""), c.before, c.after) for c in inner
                ]
            elif before != after:
                changes.append(Change(f"training.{name}", before, after))
        return tuple(changes)

    def to_json(self) -> dict[str, Any]:
        """Field names to plain values; specs as their JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value.to_json() if isinstance(value, Spec) else value for name, value in values.items()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Training:
        """The recipe that ``to_json`` wrote."""
        fields: dict[str, Any] = {k: Spec.from_json(v) if isinstance(v, dict) else v for k, v in data.items()}
        return Training(**fields)


def require_count(name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise StudyError(f"{name} must be a whole number of at least {least}, got {value!r}")


def require_number(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise StudyError(f"{name} must be a number, got the {type(value).__name__} {value!r}")
