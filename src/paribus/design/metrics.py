"""What a study can be judged on: numbers that every run has, and metrics of the user's own.

A new number of every run is computed in ``training/run_metrics.py``, has a row in ``METRICS`` here, and its words in
``reports/metric_names.py`` and docs/report_schema.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import attrs
from attrs import field, frozen

from paribus.design.fields import known_fields
from paribus.design.specs import reference
from paribus.design.wording import suggest
from paribus.errors import SpecError, StudyError


def _is_text(metric: Metric, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str):
        raise StudyError(f"metric {metric.key!r}: {field.name} must be a string, got {value!r}")


@known_fields
@frozen
class Metric:
    """A number in every record's ``metrics``: its key, its unit, and whether lower or higher is better.

    Args:
        measure: computes a metric of your own, ``measure(logits, targets) -> values``, on the held-out tokens: logits
            (W, T, V) in float32, targets (W, T) with -1 where nothing is scored, and one value per token, (W, T), NaN
            where a token does not count. The metric is the mean over the scored tokens that count. It stands at the top
            level of a file, so that worker processes find it. Read back from a registration it is "module:name".
    """

    key: str = field(validator=_is_text)
    unit: str = field(validator=_is_text)
    better: str = field(default="lower")
    measure: Callable[[Any, Any], Any] | str | None = field(default=None)

    @better.validator
    def _check_better(self, _: Any, value: Any) -> None:
        if value not in ("lower", "higher"):
            raise StudyError(f"metric {self.key!r}: better is 'lower' or 'higher', got {value!r}")

    @measure.validator
    def _check_measure(self, _: Any, value: Any) -> None:
        if isinstance(value, str | None):
            return
        if not isinstance(value, FunctionType):
            raise StudyError(
                f"metric {self.key!r}: measure is a function of logits and targets, written with def at the top of a "
                f"file; got {value!r}"
            )
        try:
            reference(value)
        except SpecError as error:
            raise StudyError(f"metric {self.key!r}: measure {error}") from None

    def to_json(self) -> dict[str, Any]:
        """The fields by name; ``measure`` as "module:name", and only where there is one."""
        plain = {"key": self.key, "unit": self.unit, "better": self.better}
        if self.measure is None:
            return plain
        return {**plain, "measure": self.measure if isinstance(self.measure, str) else reference(self.measure)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Metric:
        """The metric that ``to_json`` wrote; its ``measure`` is a name."""
        return Metric(**data)


METRICS = {
    metric.key: metric
    for metric in (
        Metric("gradient_norm_mean", "norm"),
        Metric("initial_val_loss", "nats/token"),
        Metric("loss_reduction_per_epoch", "nats/token", better="higher"),
        Metric("train_loss", "nats/token"),
        Metric("val_accuracy", "share of tokens", better="higher"),
        Metric("val_bits_per_byte", "bits/byte"),
        Metric("val_loss", "nats/token"),
        Metric("val_loss_area", "nats/token"),
        Metric("val_perplexity", "perplexity"),
    )
}
"""What a study can be judged on: outcomes that every finished run has, with the direction that is better."""

OF_CURVE = ("initial_val_loss", "loss_reduction_per_epoch", "val_loss_area")
"""Those of them that are read off the loss curve, and so from its tokens."""

RECORDED = (
    *("active_parameters", "block_norm_parameters", "clipping_frequency", "embedding_parameters", "epochs"),
    *("forward_flops_per_token", "gradient_norm_max", "gradient_norm_p95", "gradient_norm_variance", "loss_spikes"),
    *("norm_parameters", "parameters", "steps", "steps_to_target", "tokens", "tokens_to_target"),
    *("train_loss_variance", "training_flops_per_token"),
)
"""What else every record says: no study is judged on it, and no metric of one's own is called so."""

MEASURED = "measured."
"""In front of what a clock or a memory counter said, among the columns of a frame."""

_COLUMNS = ("arm", "seed", "status", "diverged_step")  # what a frame or a record says of a run beside its numbers

VAL_LOSS = METRICS["val_loss"]
"""Cross-entropy on the held-out tokens after the last step."""

VAL_BITS_PER_BYTE = METRICS["val_bits_per_byte"]
"""``VAL_LOSS`` in bits per byte of text: comparable between tokenizers."""

VAL_ACCURACY = METRICS["val_accuracy"]
"""Share of held-out tokens whose most likely prediction is right."""


def require_metric(metric: Any) -> None:
    """Raise StudyError unless a study can be judged on ``metric``: one of ``METRICS``, or one with a ``measure``."""
    if not isinstance(metric, Metric):
        raise StudyError(f"metric must be a Metric such as paribus.VAL_LOSS, got {metric!r}")
    if metric.measure is not None:
        _require_own(metric)
        return
    if metric.key not in METRICS:
        own = "one of your own says how it is measured: Metric(key, unit, measure=function)"
        raise StudyError(f"no study is judged on {metric.key!r}; {suggest(metric.key, METRICS)}; {own}")
    known = METRICS[metric.key]
    if metric.better != known.better:
        raise StudyError(f"metric {known.key!r} says {metric.better} is better; {known.better} is")


def _require_own(metric: Metric) -> None:
    if isinstance(metric.measure, str):
        raise StudyError(f"metric {metric.key!r}: measure is a function, got the string {metric.measure!r}")
    if metric.key in METRICS or metric.key in RECORDED:
        raise StudyError(f"every run has a number called {metric.key!r} already; name a metric of your own otherwise")
    if not metric.key.strip() or not metric.unit.strip():
        raise StudyError(f"a metric of your own has a key and a unit, got {metric.key!r} and {metric.unit!r}")
    for name, value in {"key": metric.key, "unit": metric.unit}.items():
        if value != value.strip() or not value.isprintable():
            raise StudyError(f"the {name} of a metric is one line without blanks around it, got {value!r}")
    if metric.key in _COLUMNS or metric.key.startswith(MEASURED):
        raise StudyError(f"a frame of results has a column {metric.key!r} already; name a metric of your own otherwise")
