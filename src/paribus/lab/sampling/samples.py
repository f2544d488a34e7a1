"""What the arms of a study wrote, and whether each decodes as it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paribus.store.files import FORMAT

TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far a logit may move between two ways to decode, as a share of the largest logit.

By the coarsest type that a model computes in; its rounding alone is 2e-16, 1e-7, 1e-3 or 8e-3 of a number.
"""


@dataclass(frozen=True)
class Passage:
    """Tokens, what they say (the ids themselves where nothing decodes them), and how much they repeat.

    Args:
        repeated: share of the 4-grams of tokens that stand earlier in the passage too: 1 - distinct / all. None below 4
            tokens. Source: Welleck et al. 2019, arXiv:1908.04319, section 6 (seq-rep-4).
    """

    tokens: tuple[int, ...]
    text: str
    repeated: float | None


@dataclass(frozen=True)
class DecodingCheck:
    """Largest difference of logits from those of one pass over a whole held-out sequence.

    Args:
        n_tokens: tokens of the sequence.
        n_prefixes: of its beginnings, each read in a pass of its own.
        by_prefixes: over all places of all beginnings; None where a logit was not finite, or the check not possible.
        by_steps: where mixers take one token after the other through ``step()``; None where no mixer can, or as above.
        steppers: mixers that have ``step()``.
        largest_logit: of that pass, without its sign; None where it was not finite, or the check not possible.
        precision: the coarsest type that the model computed in, a key of TOLERANCES.
        trouble: why the check was not possible.
    """

    n_tokens: int
    n_prefixes: int
    by_prefixes: float | None
    by_steps: float | None
    steppers: int
    largest_logit: float | None = 1.0
    precision: str = "float64"
    trouble: str = ""

    @property
    def allowed(self) -> float:
        """How far a logit may move."""
        return TOLERANCES[self.precision] * (self.largest_logit or 0.0)

    @property
    def passed(self) -> bool:
        measured = [self.by_prefixes, *([self.by_steps] if self.steppers else [])]
        return all(distance is not None and distance <= self.allowed for distance in measured)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "allowed": self.allowed, "passed": self.passed}


@dataclass(frozen=True)
class ArmSamples:
    """What one arm wrote; ``held_out_log_probability`` is the mean over the held-out continuation, nats per token."""

    greedy: Passage
    sampled: Passage
    held_out_log_probability: float
    decoding: DecodingCheck


@dataclass(frozen=True)
class Samples:
    """What ``sample`` hands back.

    Args:
        run_seed: the study's first seed, whose runs keep their weights.
        prompt: without the separator that every model reads before it, as at the beginning of a document.
        is_held_out: whether the prompt is the beginning of the held-out document.
        continuation: how the held-out document goes on, as far as it was scored.
        window: tokens a model reads at most.
        is_text: whether ``text`` is decoded, and no list of ids.
    """

    name: str
    question: str
    run_seed: int
    prompt: Passage
    is_held_out: bool
    continuation: Passage
    n_tokens: int
    temperature: float
    seed: int
    window: int
    is_text: bool
    arms: Mapping[str, ArmSamples]

    @property
    def n_slid(self) -> int:
        """How many of the tokens were written when the window had left the beginning of the document behind."""
        return max(0, 1 + len(self.prompt.tokens) + self.n_tokens - 1 - self.window)

    @property
    def exit_code(self) -> int:
        """0, or 1 where an arm does not decode as it was trained."""
        return 0 if all(arm.decoding.passed for arm in self.arms.values()) else 1

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        arms = {name: {**asdict(arm), "decoding": arm.decoding.to_json()} for name, arm in self.arms.items()}
        return {"format": FORMAT, **asdict(self), "n_slid": self.n_slid, "arms": arms}
