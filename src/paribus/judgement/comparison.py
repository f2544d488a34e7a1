"""One treatment against the baseline on one metric: the paired differences and everything a report says of them.

A contrast of several arms is judged as such a pair: the arms of positive weight against those of negative weight.
Differences are treatment minus baseline, never flipped; where lower is better a negative difference is good,
where higher is better a positive one is. Only the judging itself works on oriented differences.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np

from paribus.contrasts import Contrast
from paribus.errors import JudgementError
from paribus.judgement.documents import estimate_document_error
from paribus.judgement.looks import Ending, half_widths, moments, replay
from paribus.judgement.planning import Outlook, plan_seeds
from paribus.judgement.rules import Rule
from paribus.markup import comparison_html
from paribus.metrics import VAL_LOSS, Metric
from paribus.records import Record
from paribus.study import BASELINE

DOMINATING_SHARE = 0.6  # one pair with more than this share of the centred sum of squares is pointed out
_DOMINATING_FROM = 8  # pairs
_SIGN_FLIP_FROM = 6  # pairs: below, the smallest possible p is above .03
_TIE = 1e-12  # relative to the largest sum: flips that differ by rounding alone count as ties


@dataclass(frozen=True)
class Pair:
    """The two runs of one seed, or the two sides of a contrast.

    Args:
        seed: shared by both runs.
        baseline, treatment: the metric's value; None where the run diverged before it had one.
        baseline_status, treatment_status: "done" or "diverged".
        baseline_documents, treatment_documents: mean loss per evaluation document, in equal order; None without.
        weights: token counts of those documents.
        diverged: of a contrast the arms without a finite value.

    Raises JudgementError for another status: a run that failed is not a result, and its pair is missing.
    """

    seed: int
    baseline: float | None
    treatment: float | None
    baseline_status: str = "done"
    treatment_status: str = "done"
    baseline_documents: np.ndarray | None = field(default=None, compare=False, repr=False)
    treatment_documents: np.ndarray | None = field(default=None, compare=False, repr=False)
    weights: np.ndarray | None = field(default=None, compare=False, repr=False)
    diverged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for arm in ("baseline", "treatment"):
            status = getattr(self, f"{arm}_status")
            if status not in ("done", "diverged"):
                raise JudgementError(f"the {arm}'s run of seed {self.seed} is {status!r}: the pair is missing")

    @classmethod
    def of_records(cls, baseline: Record, treatment: Record, metric: Metric) -> Pair:
        """The pair of two finished records. Per-document losses are taken along for ``VAL_LOSS`` alone.

        Raises JudgementError for two seeds, a metric that a finished run lacks, or unlike evaluation documents.
        """
        if baseline.seed != treatment.seed:
            raise JudgementError(f"a pair shares its seed; got {baseline.seed} and {treatment.seed}")
        for arm, record in (("baseline", baseline), ("treatment", treatment)):
            if record.status == "done" and metric.key not in record.metrics:
                raise JudgementError(f"the {arm}'s run of seed {record.seed} has no metric {metric.key!r}")
        documents: dict[str, Any] = {}
        if metric.key == VAL_LOSS.key and baseline.documents and treatment.documents:
            tokens = np.asarray(baseline.documents["tokens"], dtype=float)
            if list(baseline.documents["tokens"]) != list(treatment.documents["tokens"]):
                raise JudgementError(f"the runs of seed {baseline.seed} were scored on different evaluation documents")
            documents = {
                "baseline_documents": np.asarray(baseline.documents["loss"], dtype=float) / tokens,
                "treatment_documents": np.asarray(treatment.documents["loss"], dtype=float) / tokens,
                "weights": tokens,
            }
        return cls(
            baseline.seed,
            baseline.metrics.get(metric.key),
            treatment.metrics.get(metric.key),
            baseline.status,
            treatment.status,
            **documents,
        )

    @classmethod
    def of_contrast(cls, records: Mapping[str, Record], contrast: Contrast, metric: Metric) -> Pair:
        """One seed of a contrast: ``treatment`` sums the arms of positive weight, ``baseline`` the others.

        Each side is the first arm's value plus |weight| times what every arm differs from it: where arms are equal
        to the bit the difference is 0 to the bit, whatever the weights round to. Raises as ``of_records`` does.
        """
        arms = {arm: records[arm] for arm in contrast.weights}
        first = next(iter(arms.values()))
        pairs = {arm: cls.of_records(first, record, metric) for arm, record in arms.items()}
        diverged = tuple(arm for arm, pair in pairs.items() if pair.treatment_diverged)
        values = {arm: float(pair.treatment) for arm, pair in pairs.items() if _is_finite(pair.treatment)}
        origin = next((value for arm, value in values.items() if arm not in diverged), math.nan)
        sides: dict[str, Any] = {}
        for side, sign in (("baseline", -1), ("treatment", 1)):
            shares = {arm: sign * weight for arm, weight in contrast.weights.items() if sign * weight > 0}
            broken = any(arm in diverged for arm in shares)
            sides[f"{side}_status"] = "diverged" if broken else "done"
            moved = None if broken else math.fsum(w * (values[arm] - origin) for arm, w in shares.items())
            sides[side] = None if moved is None else origin + moved
            if not diverged and all(pair.weights is not None for pair in pairs.values()):
                documents = {arm: np.asarray(pair.treatment_documents) for arm, pair in pairs.items()}
                start = next(iter(documents.values()))
                parts = [weight * (documents[arm] - start) for arm, weight in shares.items()]
                sides |= {
                    f"{side}_documents": start + np.sum(parts, axis=0),
                    "weights": pairs[next(iter(arms))].weights,
                }
        return cls(first.seed, **sides, diverged=diverged)

    @property
    def baseline_diverged(self) -> bool:
        """The baseline's run diverged or its value is not finite."""
        return self.baseline_status == "diverged" or not _is_finite(self.baseline)

    @property
    def treatment_diverged(self) -> bool:
        """The treatment's run diverged or its value is not finite."""
        return self.treatment_status == "diverged" or not _is_finite(self.treatment)

    @property
    def difference(self) -> float:
        """Treatment minus baseline; NaN where either diverged."""
        if not (_is_finite(self.baseline) and _is_finite(self.treatment)):
            return math.nan
        if self.baseline_diverged or self.treatment_diverged:
            return math.nan
        return float(self.treatment) - float(self.baseline)


@dataclass(frozen=True)
class Comparison:
    """The paired differences of one treatment on one metric, cut where the rule stopped.

    Numbers that the pairs do not allow are None. All floats are Python floats and depend on nothing but the
    pairs and the rule, to the bit on one machine.

    Args:
        treatment: name of the arm, or of the contrast.
        metric: what is compared.
        rule: the registered rule.
        primary: gets a verdict; a descriptive treatment gets intervals, at the primaries' level, and none.
        pairs: in the order of their seeds, none beyond the stopping look.
        mean, sd: of the differences (ddof 1), in the metric's unit.
        correlation: between the arms over seeds (Pearson); what pairing gained.
        se_seed: sd / sqrt(n).
        se_doc: standard error from the choice of evaluation documents; None without per-document losses.
        interval: mean -+ h; covers the true difference with 1 - alpha, over all looks and all primary arms.
        equivalence_interval: mean -+ he, alpha on each side.
        wider_interval, wider_equivalence_interval: the same with ``se_doc`` in them: for other documents of this kind.
        sign_flip_p: exact two-sided p of the sign-flip test, from 6 pairs on.
        dominating_seed: seed of the pair that makes up more than 60 % of the centred sum of squares, from 8 pairs on.
        dominating_share: its share.
        outlook: for an undecided comparison, the seeds that would settle it.
        contrast: the weights, where several arms are compared.
    """

    treatment: str
    metric: Metric
    rule: Rule
    primary: bool
    pairs: tuple[Pair, ...]
    mean: float | None = None
    sd: float | None = None
    correlation: float | None = None
    se_seed: float | None = None
    se_doc: float | None = None
    interval: tuple[float, float] | None = None
    equivalence_interval: tuple[float, float] | None = None
    wider_interval: tuple[float, float] | None = None
    wider_equivalence_interval: tuple[float, float] | None = None
    sign_flip_p: float | None = None
    dominating_seed: int | None = None
    dominating_share: float | None = None
    outlook: Outlook | None = None
    contrast: Contrast | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms whose runs it takes, the baseline first: every run is audited against the baseline's."""
        if self.contrast is None:
            return BASELINE, self.treatment
        return BASELINE, *(arm for arm in self.contrast.weights if arm != BASELINE)

    @property
    def coverage(self) -> str:
        """What ``interval`` covers: a descriptive treatment is not among the arms that share alpha."""
        if self.contrast:
            return f"{100 * (1 - self.rule.alpha):.3g} %, all looks and all verdicts"
        scope = "all looks and all arms" if self.primary else "all looks, this arm alone"
        return f"{100 * (1 - self.rule.alpha):.3g} %, {scope}"

    @property
    def n_pairs(self) -> int:
        """Pairs that were judged."""
        return len(self.pairs)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the pairs, in order."""
        return tuple(pair.seed for pair in self.pairs)

    @property
    def differences(self) -> tuple[float, ...]:
        """Treatment minus baseline by pair; NaN where a run diverged."""
        return tuple(pair.difference for pair in self.pairs)

    @property
    def oriented(self) -> np.ndarray:
        """The differences as the looks read them, (1, pairs): negative is better whatever the metric's direction."""
        return _orient(self.metric) * np.array([self.differences], dtype=float).reshape(1, -1)

    def _repr_html_(self) -> str:
        return comparison_html(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of the fields; NaN and infinite numbers become null.

        ``pairs`` is replaced by the lists ``seeds``, ``baseline``, ``values``, ``differences``,
        ``baseline_status`` and ``treatment_status``, one entry per pair; ``n_pairs`` is their length,
        ``coverage`` the label of ``interval``, and ``metric`` has ``key``, ``unit`` and ``better``. A contrast also
        has its ``contrast`` and, per entry, the arms that ``diverged``.
        """
        return {
            "treatment": self.treatment,
            "metric": {"key": self.metric.key, "unit": self.metric.unit, "better": self.metric.better},
            "rule": self.rule.to_json(),
            "primary": self.primary,
            "n_pairs": self.n_pairs,
            "seeds": list(self.seeds),
            "baseline": [_plain(pair.baseline) for pair in self.pairs],
            "values": [_plain(pair.treatment) for pair in self.pairs],
            "differences": [_plain(difference) for difference in self.differences],
            "baseline_status": [pair.baseline_status for pair in self.pairs],
            "treatment_status": [pair.treatment_status for pair in self.pairs],
            "mean": _plain(self.mean),
            "sd": _plain(self.sd),
            "correlation": _plain(self.correlation),
            "se_seed": _plain(self.se_seed),
            "se_doc": _plain(self.se_doc),
            "coverage": self.coverage,
            "interval": _plain_range(self.interval),
            "equivalence_interval": _plain_range(self.equivalence_interval),
            "wider_interval": _plain_range(self.wider_interval),
            "wider_equivalence_interval": _plain_range(self.wider_equivalence_interval),
            "sign_flip_p": _plain(self.sign_flip_p),
            "dominating_seed": self.dominating_seed,
            "dominating_share": _plain(self.dominating_share),
            "outlook": self.outlook.to_json() if self.outlook else None,
            **(
                {"contrast": self.contrast.to_json(), "diverged": [list(pair.diverged) for pair in self.pairs]}
                if self.contrast
                else {}
            ),
        }


def compare(
    treatment: str,
    pairs: Sequence[Pair],
    rule: Rule,
    metric: Metric,
    primary: bool = True,
    contrast: Contrast | None = None,
) -> Comparison:
    """Compare one treatment with the baseline over the longest finished prefix of pairs, or judge a contrast so.

    A primary comparison is cut at the look where the rule stops: later pairs are not read. A descriptive one
    keeps all pairs up to the first divergence.

    Raises JudgementError for more pairs than registered, a missing pair, or a seed out of order.
    """
    _check_order(treatment, pairs, rule)
    stop, undecided = _stop(pairs, rule, metric) if primary else (_first_divergence(pairs), False)
    pairs = tuple(pairs[:stop])
    numbers = _describe(pairs, rule)
    if undecided:
        numbers["outlook"] = plan_seeds(numbers["mean"], numbers["sd"], rule)
    return Comparison(treatment, metric, rule, primary, pairs, contrast=contrast, **numbers)


def compare_all(
    pairs: Mapping[str, Sequence[Pair]],
    rule: Rule,
    metric: Metric,
    primary: Collection[str] | None = None,
    contrasts: Mapping[str, Contrast] = MappingProxyType({}),
) -> dict[str, Comparison]:
    """Compare every treatment and contrast, in the order of ``pairs``. None: all are primary.

    Each primary treatment is judged at alpha / K from first to last: one that is decided retires and its share
    of alpha is not given to the others, since the family error could then exceed alpha.

    Raises JudgementError where ``rule.n_primary`` is not the number of primary treatments, or one has no entry.
    """
    names = tuple(pairs) if primary is None else tuple(primary)
    if len(set(names)) != rule.n_primary:
        raise JudgementError(f"the rule shares alpha among {rule.n_primary} primary treatments, got {len(set(names))}")
    for name in names:
        if name not in pairs:
            raise JudgementError(f"no pairs of the primary treatment {name!r}")
    return {name: compare(name, own, rule, metric, name in names, contrasts.get(name)) for name, own in pairs.items()}


def sign_flip_p(differences: Sequence[float]) -> float:
    """Exact two-sided p of the sign-flip (randomization) test: the share of all 2^n flips whose |sum| reaches |sum d|.

    Zeros are flipped like the others; sums within 1e-12 of the largest possible one count as ties.

    Source: Fisher 1935, section 21; Pitman 1937.
    """
    d = np.abs(np.asarray(differences, dtype=float))
    sums = d[:1].copy()  # by symmetry the first sign stays: both halves have the same |sum|
    for value in d[1:]:
        sums = np.concatenate([sums - value, sums + value])
    observed = abs(float(np.sum(np.asarray(differences, dtype=float))))
    return float((np.abs(sums) >= observed - _TIE * float(d.sum())).mean())


def _stop(pairs: Sequence[Pair], rule: Rule, metric: Metric) -> tuple[int, bool]:
    """Pairs up to the stopping look, and whether it ended undecided on the numbers."""
    differences = _orient(metric) * np.array([[pair.difference for pair in pairs]], dtype=float)
    endings, stops = replay(differences, rule)
    return int(stops[0]), endings[0] in (Ending.EXHAUSTED, Ending.UNLIKELY)


def _first_divergence(pairs: Sequence[Pair]) -> int:
    """Pairs up to the first that diverged, all where none did."""
    return next((place for place, pair in enumerate(pairs, 1) if math.isnan(pair.difference)), len(pairs))


def _describe(pairs: tuple[Pair, ...], rule: Rule) -> dict[str, Any]:
    """The numbers of a comparison by field name; none where a run diverged, for none would be of all pairs."""
    d = np.array([pair.difference for pair in pairs], dtype=float)
    n = len(d)
    if n == 0 or np.isnan(d).any():
        return {}
    if n == 1:
        return {"mean": float(d[0])}
    mean, sd = (float(value[0]) for value in moments(d[None, :]))
    se_doc = _document_error(pairs)
    numbers: dict[str, Any] = {"mean": mean, "sd": sd, "se_seed": sd / math.sqrt(n), "se_doc": se_doc}
    numbers["correlation"] = _correlate(pairs)
    if n >= rule.n_min:
        h, he = half_widths(n, sd, rule)
        numbers["interval"] = _around(mean, h)
        numbers["equivalence_interval"] = _around(mean, he)
        if se_doc is not None:
            h, he = half_widths(n, sd, rule, se_doc)
            numbers["wider_interval"] = _around(mean, h)
            numbers["wider_equivalence_interval"] = _around(mean, he)
    if n >= _SIGN_FLIP_FROM:
        numbers["sign_flip_p"] = sign_flip_p(d.tolist())
    return numbers | _find_dominating(pairs, d)


def _find_dominating(pairs: tuple[Pair, ...], d: np.ndarray) -> dict[str, Any]:
    squares = (d - d.mean()) ** 2
    if len(d) < _DOMINATING_FROM or not squares.sum() > 0:
        return {}
    most = int(squares.argmax())
    share = float(squares[most] / squares.sum())
    return {"dominating_seed": pairs[most].seed, "dominating_share": share} if share > DOMINATING_SHARE else {}


def _document_error(pairs: tuple[Pair, ...]) -> float | None:
    missing = [pair.seed for pair in pairs if pair.weights is None]
    if len(missing) == len(pairs):
        return None
    if missing:
        raise JudgementError(f"the pair of seed {missing[0]} has no per-document losses although others have")
    weights = np.asarray(pairs[0].weights)
    for pair in pairs:
        if not np.array_equal(np.asarray(pair.weights), weights):
            raise JudgementError(
                f"the pair of seed {pair.seed} was scored on other evaluation documents than the first"
            )
    sides = [(np.asarray(pair.treatment_documents), np.asarray(pair.baseline_documents)) for pair in pairs]
    differences = np.array([treatment - baseline for treatment, baseline in sides])
    return estimate_document_error(differences, weights)


def _correlate(pairs: tuple[Pair, ...]) -> float | None:
    """Pearson's r between the arms; None below three pairs, where it is +-1 or nothing."""
    if len(pairs) < 3:
        return None
    x = np.array([pair.baseline for pair in pairs], dtype=float)
    y = np.array([pair.treatment for pair in pairs], dtype=float)
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale > 0 else None


def _check_order(treatment: str, pairs: Sequence[Pair], rule: Rule) -> None:
    if len(pairs) > rule.n_max:
        raise JudgementError(f"{treatment!r} has {len(pairs)} pairs, but at most {rule.n_max} were registered")
    seeds = [pair.seed for pair in pairs]
    for place, seed in enumerate(seeds):
        wanted = rule.first_seed + place
        if seed == wanted:
            continue
        what = "is out of order" if wanted in seeds else "is there but the pair before it is missing"
        raise JudgementError(f"{treatment!r}: pair {place + 1} must have seed {wanted}; seed {seed} {what}")


def _orient(metric: Metric) -> float:
    return 1.0 if metric.better == "lower" else -1.0


def _around(mean: float, half: Any) -> tuple[float, float] | None:
    half = float(half)
    return (mean - half, mean + half) if math.isfinite(half) else None


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _plain(value: float | None) -> float | None:
    return float(value) if _is_finite(value) else None


def _plain_range(ends: tuple[float, float] | None) -> list[float] | None:
    return [float(end) for end in ends] if ends is not None else None
