"""What a researcher writes: the question, the arms, the training recipe, the metric and the margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import attrs
from attrs import field, frozen
from attrs.validators import optional

from paribus.design.contrasts import Contrast, read_contrasts
from paribus.design.fields import count, known_fields, must_be, number
from paribus.design.markup import escape, write_table
from paribus.design.metrics import VAL_LOSS, Metric, require_metric
from paribus.design.plain import to_plain
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.trees import Change, describe, group_changes, shorten
from paribus.design.tuning import Tuning, learning_rates, set_hyperparameters
from paribus.design.wording import suggest
from paribus.errors import SpecError, StudyError

BASELINE = "baseline"

MOST_SEEDS = 20  # the boundary recursion is checked by simulation up to here

_NOWHERE = -1  # a width that no model has

_EXTRA_RATES = (0.5, 2.0)

MATCHES = {
    "parameters": "parameters",
    "active_parameters": "active_parameters",
    "flops": "training_flops_per_token",
}
"""What a treatment can be made equal to the baseline in, and the number of every record that says it."""


def _is_pattern(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str):
        raise StudyError(f'{field.name} is a path pattern such as "*.mlp.d_ff", got {value!r}')


@known_fields
@frozen
class Arm:
    """A model under study and, where it differs from the study's, the recipe that trains it.

    Args:
        match: one of ``MATCHES``: make the treatment equal to the baseline in it by the ``width`` that does.
        width: path pattern of the argument that is solved for, such as ``"*.mlp.d_ff"``; all it matches become equal.
        multiple_of: the width is a multiple of this.

    Raises StudyError for a ``match`` without a ``width``, or the other way round.
    """

    kind: ClassVar[str] = "trained"  # which performer does its runs

    model: Spec
    training: Training = None  # type: ignore[assignment]  # filled in by Study.arms
    match: str | None = None
    width: str | None = field(default=None, validator=optional(_is_pattern))
    multiple_of: int = field(default=1, validator=count())

    def __attrs_post_init__(self) -> None:
        if self.match is not None and self.match not in MATCHES:
            raise StudyError(f"no treatment can be matched in {self.match!r}; {suggest(self.match, MATCHES)}")
        if (self.match is None) != (self.width is None):
            raise StudyError(
                "a treatment that is to be matched says in what and by which width: "
                f'Arm(model, match="parameters", width="*.mlp.d_ff"), got match={self.match!r} and width={self.width!r}'
            )

    def replace(self, **changes: Any) -> Arm:
        """This arm with some fields changed."""
        return attrs.evolve(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """What a run of it needs, as plain values."""
        return {"model": self.model.to_json(), "training": self.training.to_json()}

    @property
    def matching(self) -> dict[str, Any] | None:
        """What ``match`` requests, as plain values; None without it."""
        if self.match is None:
            return None
        return {"match": self.match, "width": self.width, "multiple_of": self.multiple_of}


_WRITTEN = (
    *("data", "metric", "margin", "min_seeds", "max_seeds", "primary", "changes", "null", "alpha", "give_up"),
    *("first_seed", "tuning", "extra_rates", "width_response"),
)
"""The fields of a study that its JSON holds as they are."""


def _is_sentence(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"question is a sentence such as 'Is it better?', got {shorten(value)}")


def _read_arms(treatments: Mapping[str, Spec | Arm]) -> Mapping[str, Arm]:
    _require_dict("treatments", treatments)
    arms = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in treatments.items()}
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
    return MappingProxyType(arms)


def _read_changes(changes: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    _require_dict("changes", changes)
    return MappingProxyType({name: _strings(name, patterns) for name, patterns in changes.items()})


def _require_dict(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise StudyError(f"{name} must be a dict from a treatment's name, got {shorten(value)}")


def _read_primary(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else _strings("primary", names)


def _read_null(names: Iterable[str]) -> tuple[str, ...]:
    return _strings("null", names)


def _strings(name: str, values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise StudyError(f"{name!r} must be a tuple of strings; write ({values!r},)")
    return tuple(values)


@known_fields
@frozen(kw_only=True)
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
        first_seed: the seeds are ``first_seed, first_seed + 1, ...``.
        tuning: give every arm the same number of trials first, and compare each at its own best.
        extra_rates: without ``tuning``, what the learning rates are multiplied by for one extra pair each, which shows
            whether the verdict would turn at another rate. Empty: no extra pairs. None: half and double, and none in a
            study of contrasts without a primary treatment, since contrasts get no runs at other rates.
        width_response: a width of the baseline by path pattern, such as ``"*.mlp.d_ff"``: two more baselines, one
            narrower and one wider, tell how much of a difference the number of parameters alone would make.
        contrasts: name to weights by arm that sum to zero, the positive ones to 1; each gets a verdict on its weighted
            sum over arms, and shares the error rate. ``paribus.factorial`` makes them.

    Raises StudyError for a study that makes no sense.
    """

    question: str = field(validator=_is_sentence)
    baseline: Spec = field(validator=must_be(Spec, "a Spec"))
    treatments: Mapping[str, Arm] = field(converter=_read_arms)  # written, a Spec where the recipe does not differ
    data: Spec = field(validator=must_be(Spec, "a spec", "spec(paribus.data.Text, source=...)"))
    training: Training = field(validator=must_be(Training, "a Training"))
    margin: float = field(validator=number)
    metric: Metric = field(default=VAL_LOSS, validator=lambda _, __, metric: require_metric(metric))
    min_seeds: int = field(default=3, validator=count())
    max_seeds: int = field(default=10, validator=count())
    _primary: tuple[str, ...] | None = field(default=None, converter=_read_primary)
    changes: Mapping[str, tuple[str, ...]] = field(factory=dict, converter=_read_changes)
    null: tuple[str, ...] = field(default=(), converter=_read_null)
    alpha: float = field(default=0.05, validator=number)
    give_up: float = field(default=0.10, validator=number)
    first_seed: int = field(default=0, validator=count(least=0))
    tuning: Tuning | None = field(
        default=None, validator=optional(must_be(Tuning, "a Tuning", "tuning=paribus.Tuning()"))
    )
    _extra_rates: tuple[float, ...] | None = None
    width_response: str | None = field(default=None, validator=optional(_is_pattern))
    _contrasts: Mapping[str, Any] = field(factory=dict)

    @cached_property
    def contrasts(self) -> Mapping[str, Contrast]:
        """Name to contrast, checked against the arms."""
        return read_contrasts(self._contrasts, (BASELINE, *self.treatments))

    @property
    def primary(self) -> tuple[str, ...]:
        """The treatments that get a verdict."""
        if self._primary is None:
            return () if self.contrasts else tuple(self.treatments)
        return self._primary

    @property
    def extra_rates(self) -> tuple[float, ...]:
        """What the learning rates are multiplied by for an extra pair each."""
        if self._extra_rates is None:
            return _EXTRA_RATES if self.primary else ()
        return self._extra_rates

    def __attrs_post_init__(self) -> None:
        if twice := [name for name in self.primary if self.primary.count(name) > 1]:
            raise StudyError(f"primary names {twice[0]!r} twice: {self.primary!r}")
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
        for place, names in {"primary": self.primary, "changes": self.changes, "null": self.null}.items():
            for name in names:
                if name not in self.treatments:
                    raise StudyError(f"{place} names no treatment {name!r}; {suggest(name, self.treatments)}")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise StudyError(f"margin must be finite and not negative, got {self.margin!r} {self.metric.unit}")
        if not 2 <= self.min_seeds <= self.max_seeds <= MOST_SEEDS:
            raise StudyError(
                f"need 2 <= min_seeds <= max_seeds <= {MOST_SEEDS}, got {self.min_seeds} and {self.max_seeds}"
            )
        if not 0 < self.alpha < 0.5 or not 0 <= self.give_up < 1:
            raise StudyError(f"need 0 < alpha < 0.5 and 0 <= give_up < 1, got {self.alpha} and {self.give_up}")
        self._check_tuning()
        self._check_rates()
        self._check_width()

    def _check_tuning(self) -> None:
        if self.tuning is None:
            return
        verdict = range(self.first_seed, self.first_seed + self.max_seeds)
        if shared := sorted(set(self.tuning.run_seeds) & set(verdict)):
            raise StudyError(
                f"tuning runs on seed {shared[0]}, which is one of the verdict's ({verdict.start} to "
                f"{verdict.stop - 1}): what was chosen on a seed cannot be judged on it; set Tuning(first_seed=...)"
            )
        for arm, point in itertools.product(self.arms.values(), self.tuning.points):
            set_hyperparameters(arm.training, point)

    def _check_rates(self) -> None:
        factors = self.extra_rates
        numbers = isinstance(factors, tuple) and all(isinstance(f, int | float) and f > 0 and f != 1 for f in factors)
        if not numbers:
            raise StudyError(
                f"extra_rates is a tuple of positive factors other than 1, such as (0.5, 2), got {factors}"
            )
        if factors and not self.primary:
            raise StudyError(
                f"extra_rates {factors} is for primary treatments, and there is none; contrasts get no extra runs: "
                "tuning=paribus.Tuning() tries every arm at several rates"
            )

    def _check_width(self) -> None:
        pattern = self.width_response
        if pattern is None:
            return
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

        ``primary`` and ``extra_rates`` that nobody wrote follow the changes.
        """
        return attrs.evolve(self, **changes)

    def _repr_markdown_(self) -> str:
        return _write_study(self)

    def to_json(self) -> dict[str, Any]:
        """Everything that defines the study, as plain values; what a registration holds."""
        return {
            "question": self.question,
            "arms": {
                name: {**arm.to_json(), **({"matching": arm.matching} if arm.match else {})}
                for name, arm in self.arms.items()
            },
            **{name: to_plain(getattr(self, name)) for name in _WRITTEN},
            **({"contrasts": to_plain(self.contrasts)} if self.contrasts else {}),
        }


_SHOWN_SITES = 3

_LONGEST_VALUE = 60


def _write_study(study: Study) -> str:
    """The question, the arms with the sites they change, the recipe, the data and the margin."""
    recipe, metric = study.training, study.metric
    parts = len(study.baseline.sites())
    rows: list[list[str]] = [["baseline", f"{study.baseline.cls.__name__} of {parts} parts", ""]]
    for name in study.treatments:
        role = "gets a verdict" if name in study.primary else "is described"
        rows.append([name, "\n".join(_describe_changes(study.diff(name))), role])
    told = {
        "recipe": f"{recipe.trained_tokens:,} tokens in {recipe.steps:,} steps, windows of {recipe.seq_len}, "
        f"{describe(recipe.optimizer)}, {recipe.precision}",
        "data": describe(study.data),
        "margin": f"±{study.margin:g} {metric.unit} of {metric.key}, {metric.better} is better",
        "pairs": f"{study.min_seeds} to {study.max_seeds}",
        **({"contrasts": ", ".join(study.contrasts)} if study.contrasts else {}),
    }
    arms = write_table(("arm", "differs from the baseline in", ""), rows)
    return "\n\n".join([f"**{escape(study.question)}**", arms, write_table(("", ""), told.items())])


def _describe_changes(changes: Iterable[Change]) -> list[str]:
    """A line per edit: where, at how many sites, from what to what."""
    lines = []
    for (before, after), paths in group_changes(changes, _short).items():
        more = len(paths) - _SHOWN_SITES
        shown = ", ".join(paths[:_SHOWN_SITES]) + (f" and {more} more" if more > 0 else "")
        shown = f"{len(paths)} sites ({shown})" if len(paths) > 1 else shown
        lines.append(f"{shown}: {before} \N{RIGHTWARDS ARROW} {after}")
    return lines or ["nothing"]


def _short(value: Any) -> str:
    text = describe(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def arms_without_rates(arms: Mapping[str, Arm]) -> list[str]:
    """The arms whose optimizer has no learning rate that could be multiplied."""
    return [name for name, arm in arms.items() if not learning_rates(arm.training.optimizer)]
