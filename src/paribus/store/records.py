"""What a store holds as data: records of runs, and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from paribus.store.files import FORMAT

SEVERITIES = ("note", "doubt", "invalid")


@dataclass(frozen=True)
class Finding:
    """A reason to doubt a comparison.

    Args:
        check: name of the audit that found it, such as "causality".
        severity: "note" (worth knowing), "doubt" (weakens the verdict), "invalid" (no verdict stands).
        message: one sentence with the evidence in it.
        arm: the arm it concerns; None for the whole study.
        site: the path of the part, where one is to blame.
        evidence: the numbers, by name.
        remedy: what to do about it.
        bars: kinds of verdict that cannot be told while it stands, such as "better": they become "undecided".
    """

    check: str
    severity: str
    message: str
    arm: str | None = None
    site: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    bars: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {SEVERITIES}, got {self.severity!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields by name; ``bars`` only where there are some."""
        plain = asdict(self)
        return {**plain, "bars": list(self.bars)} if self.bars else {k: v for k, v in plain.items() if k != "bars"}


@dataclass(frozen=True)
class Record:
    """What one run left behind.

    Args:
        digest: identity of the run; names its folder.
        seed: the replicate.
        status: "done", "diverged" (not finite; a result, not an accident) or "failed" (an error).
        metrics: final numbers by name; see docs/report_schema.md.
        evaluations: one entry per scheduled evaluation: step, tokens, loss and so on; see ``loss_curve``.
        documents: per held-out document ``tokens`` (count) and ``loss`` (sum in nats), equal order in all runs.
        pairing: digests that two members of a pair must share: initial weights by path, batches, evaluation tokens,
            and the source of paribus ("code").
        sites: path of every part that fills a slot to what it looks like on one more batch after the last step:
            ``output_rms`` and ``gradient_rms`` (root mean squares), and ``unmoved``, the share of its trainable
            parameters in tensors that kept their initial bits; a number that a part does not have is absent.
        error: for "diverged" and "failed", what happened.
        measured: what a clock or memory counter said; never equal between two runs.
    """

    digest: str
    seed: int
    status: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[Mapping[str, Any], ...] = ()
    documents: Mapping[str, list[float]] = field(default_factory=dict)
    pairing: Mapping[str, Any] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Record:
        fields = {key: value for key, value in data.items() if key != "format"}
        fields["evaluations"] = tuple(fields.get("evaluations", ()))
        return Record(**fields)


def loss_curve(evaluations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Those of a run's evaluations that scored the same tokens.

    The last one scored the result on all held-out tokens. Where the others scored some of the tokens, or weights that
    are not averaged, so did the last but one, after as much training.
    """
    is_apart = len(evaluations) > 1 and evaluations[-1]["tokens"] == evaluations[-2]["tokens"]
    return evaluations[:-1] if is_apart else evaluations
