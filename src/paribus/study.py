"""What a researcher writes: the question, the arms, the training recipe, the metric and the margin."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from paribus.contrasts import read_contrasts
from paribus.errors import SpecError, StudyError
from paribus.fields import known_fields
from paribus.metrics import VAL_LOSS, Metric, require_metric
from paribus.specs import Change, Spec, describe, shorten
from paribus.tuning import Tuning, set_hyperparameters

BASELINE = "baseline"
MOST_SEEDS = 20  # the boundary recursion is checked by simulation up to here
_NOWHERE = -1  # a width that no model has
_RATE_PROBE = (0.5, 2.0)


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
            _require_count(name, getattr(self, name))
        micro = self.micro_batch_tokens or self.batch_tokens
        _require_count("micro_batch_tokens", micro)
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
        _require_number("averaged", self.averaged)
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


MATCHES = {
    "parameters": "parameters",
    "active_parameters": "active_parameters",
    "flops": "training_flops_per_token",
}
"""What a treatment can be made equal to the baseline in, and the number of every record that says it."""


@known_fields
@dataclass(frozen=True)
class Arm:
    """A model under study and, where it differs from the study's, the recipe that trains it.

    Args:
        match: one of ``MATCHES``: make the treatment equal to the baseline in it by the ``width`` that does.
        width: path pattern of the argument that is solved for, such as ``"*.mlp.d_ff"``; all it matches become equal.
        multiple_of: the width is a multiple of this.

    Raises StudyError for a ``match`` without a ``width``, or the other way round.
    """

    model: Spec
    training: Training = None  # type: ignore[assignment]  # filled in by Study.arms
    match: str | None = None
    width: str | None = None
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.match is not None and self.match not in MATCHES:
            close = difflib.get_close_matches(str(self.match), MATCHES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(MATCHES)}"
            raise StudyError(f"no treatment can be matched in {self.match!r}; {hint}")
        if not isinstance(self.width, str | None):
            raise StudyError(f'width is a path pattern such as "*.mlp.d_ff", got {self.width!r}')
        if (self.match is None) != (self.width is None):
            raise StudyError(
                "a treatment that is to be matched says in what and by which width: "
                f'Arm(model, match="parameters", width="*.mlp.d_ff"), got match={self.match!r} and width={self.width!r}'
            )
        _require_count("multiple_of", self.multiple_of)

    def replace(self, **changes: Any) -> Arm:
        """This arm with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def matching(self) -> dict[str, Any] | None:
        """What was asked of ``match``, as plain values."""
        if self.match is None:
            return None
        return {"match": self.match, "width": self.width, "multiple_of": self.multiple_of}


@known_fields
@dataclass(frozen=True, kw_only=True)
class Study:
    """One question, answered by pairs of runs.

    Args:
        treatments: name to a model Spec, or to an Arm where the recipe differs.
        data: spec of a corpus, such as ``spec(paribus.data.Text, source="stdlib")``.
        margin: the smallest difference in ``metric`` worth acting on.
        min_seeds, max_seeds: a verdict falls after at least and at most so many pairs.
        primary: treatments that share the error rate; the others get intervals, no verdict. None: all, and none in a
            study with ``contrasts``.
        changes: per treatment the path patterns that may differ from the baseline; a path of the
            recipe starts with ``training.``. Anything else that differs is a finding.
        null: treatments that are meant to be the same function as the baseline.
        alpha: family error rate over all looks, all primary treatments and all contrasts.
        give_up: stop a treatment whose chance of a verdict by ``max_seeds`` falls below this.
        boundary: "group-sequential", or "anytime" for an open-ended confidence sequence.
        first_seed: the seeds are ``first_seed, first_seed + 1, ...``.
        tuning: give every arm the same number of trials first, and compare each at its own best.
        rate_probe: without ``tuning``, what the learning rates are multiplied by for one more pair each, which tells
            whether the verdict would turn at another rate. Empty: no such pair. None: half and double, and no such
            pair in a study of contrasts without a primary treatment, since contrasts cannot be probed so.
        width_response: a width of the baseline by path pattern, such as ``"*.mlp.d_ff"``: two more baselines, one
            narrower and one wider, tell how much of a difference the number of parameters alone would make.
        contrasts: name to weights by arm that sum to zero, the positive ones to 1; each gets a verdict on its weighted
            sum over arms, and shares the error rate. ``paribus.factorial`` makes them.

    Raises StudyError for a study that makes no sense.
    """

    question: str
    baseline: Spec
    treatments: Mapping[str, Any]  # a Spec or an Arm; read, an Arm
    data: Spec
    training: Training
    margin: float
    metric: Metric = VAL_LOSS
    min_seeds: int = 3
    max_seeds: int = 10
    primary: tuple[str, ...] = None  # type: ignore[assignment]  # filled in: read, it is never None
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    null: tuple[str, ...] = ()
    alpha: float = 0.05
    give_up: float = 0.10
    boundary: str = "group-sequential"
    first_seed: int = 0
    tuning: Tuning | None = None
    rate_probe: tuple[float, ...] = None  # type: ignore[assignment]  # filled in, too
    width_response: str | None = None
    contrasts: Mapping[str, Any] = field(default_factory=dict)  # arms to weights, or a Contrast; read, a Contrast
    _filled_in: tuple[str, ...] = field(init=False, repr=False, compare=False)  # the fields that were None

    def __post_init__(self) -> None:
        if not isinstance(self.question, str) or not self.question.strip():
            raise StudyError(f"question is a sentence such as 'Is it better?', got {shorten(self.question)}")
        if not isinstance(self.baseline, Spec):
            raise StudyError(f"baseline must be a Spec, got {shorten(self.baseline)}")
        for name in ("treatments", "changes"):
            if not isinstance(getattr(self, name), Mapping):
                raise StudyError(f"{name} must be a dict from a treatment's name, got {shorten(getattr(self, name))}")
        for name, value in {"primary": self.primary, "null": self.null, **self.changes}.items():
            if isinstance(value, str):
                raise StudyError(f"{name!r} must be a tuple of strings; write ({value!r},)")
        if not isinstance(self.data, Spec):
            raise StudyError(
                f"data must be a spec, got {shorten(self.data)}; write spec(paribus.data.Text, source=...)"
            )
        if not isinstance(self.training, Training):
            raise StudyError(f"training must be a Training, got {shorten(self.training)}")
        arms = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in self.treatments.items()}
        if not arms:
            raise StudyError("a study needs at least one treatment")
        for name, arm in arms.items():
            if not isinstance(name, str):
                raise StudyError(f"a treatment's name is a str, got {name!r}; write {str(name)!r}")
            if not name.strip() or name == BASELINE or not name.isprintable():
                raise StudyError(f"a treatment cannot be called {name!r}")
            if not isinstance(arm.model, Spec):
                raise StudyError(f"treatment {name!r} must be a Spec or an Arm, got {shorten(arm.model)}")
            if not isinstance(arm.training, Training | None):
                raise StudyError(f"the recipe of treatment {name!r} must be a Training, got {shorten(arm.training)}")
        freeze = object.__setattr__
        freeze(self, "treatments", MappingProxyType(arms))
        freeze(self, "changes", MappingProxyType({name: tuple(paths) for name, paths in self.changes.items()}))
        freeze(self, "contrasts", read_contrasts(self.contrasts, (BASELINE, *arms)))
        everyone = () if self.contrasts else tuple(arms)
        freeze(self, "_filled_in", tuple(name for name in ("primary", "rate_probe") if getattr(self, name) is None))
        freeze(self, "primary", everyone if self.primary is None else tuple(self.primary))
        if twice := [name for name in self.primary if self.primary.count(name) > 1]:
            raise StudyError(f"primary names {twice[0]!r} twice: {self.primary!r}")
        if self.rate_probe is None:
            freeze(self, "rate_probe", _RATE_PROBE if self.primary else ())
        freeze(self, "null", tuple(self.null))
        require_metric(self.metric)
        for name, arm in self.arms.items():
            for scored in ("seq_len", "evaluation_tokens", "curve_tokens", "evaluation_side"):
                here, there = getattr(arm.training, scored), getattr(self.training, scored)
                if here != there:
                    raise StudyError(
                        f"treatment {name!r} has {scored} {here!r}, the baseline {there!r}: "
                        "the arms would be scored on different tokens"
                    )
        if not self.primary and not self.contrasts:
            raise StudyError("primary is empty: name at least one treatment that is to get a verdict")
        for place in ("primary", "changes", "null"):
            for name in getattr(self, place):
                if name not in arms:
                    close = difflib.get_close_matches(name, arms, n=1)
                    hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(map(repr, arms))}"
                    raise StudyError(f"{place} names no treatment {name!r}; {hint}")
        for name in ("margin", "alpha", "give_up"):
            _require_number(name, getattr(self, name))
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise StudyError(f"margin must be finite and not negative, got {self.margin!r} {self.metric.unit}")
        _require_count("min_seeds", self.min_seeds)
        _require_count("max_seeds", self.max_seeds)
        _require_count("first_seed", self.first_seed, least=0)
        if not 2 <= self.min_seeds <= self.max_seeds <= MOST_SEEDS:
            raise StudyError(
                f"need 2 <= min_seeds <= max_seeds <= {MOST_SEEDS}, got {self.min_seeds} and {self.max_seeds}"
            )
        if not 0 < self.alpha < 0.5 or not 0 <= self.give_up < 1:
            raise StudyError(f"need 0 < alpha < 0.5 and 0 <= give_up < 1, got {self.alpha} and {self.give_up}")
        if self.boundary not in ("group-sequential", "anytime"):
            raise StudyError(f"boundary is 'group-sequential' or 'anytime', got {self.boundary!r}")
        self._check_trials()

    def _check_trials(self) -> None:
        if not isinstance(self.tuning, Tuning | None):
            raise StudyError(f"tuning must be a Tuning, got {shorten(self.tuning)}; write tuning=paribus.Tuning()")
        if self.tuning:
            verdict = range(self.first_seed, self.first_seed + self.max_seeds)
            if shared := sorted(set(self.tuning.run_seeds) & set(verdict)):
                raise StudyError(
                    f"tuning runs on seed {shared[0]}, which is one of the verdict's ({verdict.start} to "
                    f"{verdict.stop - 1}): what was chosen on a seed cannot be judged on it; set Tuning(first_seed=...)"
                )
            for arm, point in itertools.product(self.arms.values(), self.tuning.points):
                set_hyperparameters(arm.training, point)
        factors = self.rate_probe
        numbers = isinstance(factors, tuple) and all(isinstance(f, int | float) and f > 0 and f != 1 for f in factors)
        if not numbers:
            raise StudyError(f"rate_probe is a tuple of positive factors other than 1, such as (0.5, 2), got {factors}")
        if factors and not self.primary:
            raise StudyError(
                f"rate_probe {factors} has nothing to probe: contrasts are not, and no treatment is primary; "
                "tuning=paribus.Tuning() tries every arm at several rates"
            )
        if self.width_response is not None:
            self._check_width()

    def _check_width(self) -> None:
        pattern = self.width_response
        if not isinstance(pattern, str):
            raise StudyError(f'width_response is a path pattern such as "*.mlp.d_ff", got {pattern!r}')
        try:
            widths = self.response_widths
        except SpecError as error:
            raise StudyError(f"width_response: {error}") from None
        if len(widths) != 1 or not all(isinstance(w, int) and not isinstance(w, bool) and w > 1 for w in widths):
            raise StudyError(
                f"width_response {pattern!r} is to name one width, a whole number above 1; "
                f"{', '.join(map(describe, widths))} stands there"
            )

    @property
    def response_widths(self) -> list[Any]:
        """What stands at ``width_response`` in the baseline, each value once."""
        marked = self.baseline.replace(self.width_response or "", _NOWHERE)
        return list(dict.fromkeys(change.before for change in self.baseline.diff(marked)))

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms by name, the baseline first, each with its recipe filled in."""
        arms = {BASELINE: Arm(self.baseline), **self.treatments}
        return {name: arm.replace(training=arm.training or self.training) for name, arm in arms.items()}

    def diff(self, treatment: str) -> tuple[Change, ...]:
        """What differs between the baseline and ``treatment``: model sites first, then the recipe."""
        arm = self.arms[treatment]
        return self.baseline.diff(arm.model) + self.training.diff(arm.training)

    def replace(self, **changes: Any) -> Study:
        """This study with some fields changed; a new registration.

        What nobody wrote of ``primary`` and ``rate_probe`` is filled in anew.
        """
        return dataclasses.replace(self, **{**dict.fromkeys(self._filled_in), **changes})

    def _repr_html_(self) -> str:
        from paribus.markup import study_html

        return study_html(self)

    def to_json(self) -> dict[str, Any]:
        """Everything that defines the study, as plain values; what a registration holds."""
        return {
            "question": self.question,
            "arms": {
                name: {
                    "model": arm.model.to_json(),
                    "training": arm.training.to_json(),
                    **({"matching": arm.matching} if arm.match else {}),
                }
                for name, arm in self.arms.items()
            },
            "data": self.data.to_json(),
            "metric": self.metric.to_json(),
            "margin": self.margin,
            "min_seeds": self.min_seeds,
            "max_seeds": self.max_seeds,
            "primary": list(self.primary),
            "changes": {name: list(paths) for name, paths in self.changes.items()},
            "null": list(self.null),
            "alpha": self.alpha,
            "give_up": self.give_up,
            "boundary": self.boundary,
            "first_seed": self.first_seed,
            "tuning": self.tuning and self.tuning.to_json(),
            "rate_probe": list(self.rate_probe),
            "width_response": self.width_response,
            **({"contrasts": {name: c.to_json() for name, c in self.contrasts.items()}} if self.contrasts else {}),
        }


def _require_count(name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise StudyError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _require_number(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise StudyError(f"{name} must be a number, got the {type(value).__name__} {value!r}")
