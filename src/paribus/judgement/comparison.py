"""One treatment against the baseline on one metric: the paired differences and everything a report says of them.

A contrast of several arms is judged as such a pair: the arms of positive weight against those of negative weight.
Differences are treatment minus baseline, never flipped; where lower is better a negative difference is good,
where higher is better a positive one is. Only the judging itself works on oriented differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from paribus.design.contrasts import Contrast
from paribus.design.markup import escape, write_table
from paribus.design.metrics import Metric
from paribus.design.plain import read_plain, to_plain
from paribus.design.study import BASELINE
from paribus.errors import JudgementError
from paribus.judgement.document_noise import estimate_document_error
from paribus.judgement.looks import Ending, half_widths, moments, replay
from paribus.judgement.pairs import Pair, orient, plain_number
from paribus.judgement.planning import Outlook, plan_seeds
from paribus.judgement.rules import Rule

DOMINATING_SHARE = 0.6  # one pair with more than this share of the centred sum of squares is pointed out

_DOMINATING_FROM = 8  # pairs

_SIGN_FLIP_FROM = 6  # pairs: below, the smallest possible p is above .03

_TIE = 1e-12  # relative to the largest sum: flips that differ by rounding alone count as ties


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

    @cached_property
    def ending(self) -> tuple[Ending, int]:
        """How the looks at the pairs ended, whatever the findings say, and after how many pairs."""
        endings, stops = replay(self.oriented, self.rule)
        return Ending(int(endings[0])), int(stops[0])

    @property
    def has_ended(self) -> bool:
        """Whether the numbers suffice for a verdict, if only that it is undecided."""
        return self.ending[0] is not Ending.OPEN

    @property
    def oriented(self) -> np.ndarray:
        """The differences as the looks read them, (1, pairs): negative is better whatever the metric's direction."""
        return orient(self.metric) * np.array([self.differences], dtype=float).reshape(1, -1)

    def _repr_markdown_(self) -> str:
        return _write_comparison(self.to_json())

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
            "baseline": [plain_number(pair.baseline) for pair in self.pairs],
            "values": [plain_number(pair.treatment) for pair in self.pairs],
            "differences": [plain_number(difference) for difference in self.differences],
            "baseline_status": [pair.baseline_status for pair in self.pairs],
            "treatment_status": [pair.treatment_status for pair in self.pairs],
            "mean": plain_number(self.mean),
            "sd": plain_number(self.sd),
            "correlation": plain_number(self.correlation),
            "se_seed": plain_number(self.se_seed),
            "se_doc": plain_number(self.se_doc),
            "coverage": self.coverage,
            "interval": _plain_range(self.interval),
            "equivalence_interval": _plain_range(self.equivalence_interval),
            "wider_interval": _plain_range(self.wider_interval),
            "wider_equivalence_interval": _plain_range(self.wider_equivalence_interval),
            "sign_flip_p": plain_number(self.sign_flip_p),
            "dominating_seed": self.dominating_seed,
            "dominating_share": plain_number(self.dominating_share),
            "outlook": to_plain(self.outlook),
            **(
                {"contrast": self.contrast.to_json(), "diverged": [list(pair.diverged) for pair in self.pairs]}
                if self.contrast
                else {}
            ),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Comparison:
        """The comparison that ``to_json`` wrote, without the losses of single documents."""
        columns = ("seeds", "baseline", "values", "baseline_status", "treatment_status")
        rows = zip(*(data[name] for name in columns), strict=True)
        diverged = data.get("diverged") or [()] * len(data["seeds"])
        pairs = [
            Pair(seed, baseline, treatment, before, after, diverged=tuple(arms))
            for (seed, baseline, treatment, before, after), arms in zip(rows, diverged, strict=True)
        ]
        return replace(read_plain(Comparison, {**data, "pairs": ()}), pairs=tuple(pairs))


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
    differences = orient(metric) * np.array([[pair.difference for pair in pairs]], dtype=float)
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


def _around(mean: float, half: Any) -> tuple[float, float] | None:
    half = float(half)
    return (mean - half, mean + half) if math.isfinite(half) else None


def _plain_range(ends: tuple[float, float] | None) -> list[float] | None:
    return [float(end) for end in ends] if ends is not None else None


def _write_comparison(comparison: Mapping[str, Any]) -> str:
    """A comparison as ``Comparison.to_json`` tells it: every pair, then the mean, the interval and the margin."""
    metric, name = comparison["metric"], comparison["treatment"]
    decimals = _decimals(comparison["sd"])

    def write(value: float | None, status: str = "done", sign: str = "") -> str:
        return "diverged" if status != "done" else "" if value is None else f"{value:{sign}.{decimals}f}"

    columns = ("seeds", "baseline", "baseline_status", "values", "treatment_status", "differences")
    rows = [
        [str(seed), write(before, one), write(after, other), write(difference, sign="+")]
        for seed, before, one, after, other, difference in zip(*(comparison[key] for key in columns), strict=True)
    ]
    rows.append(["mean", "", "", write(comparison["mean"], sign="+")])
    if comparison["interval"]:
        low, high = comparison["interval"]
        rows.append([f"interval ({comparison['coverage']})", "", "", f"{low:+.{decimals}f} to {high:+.{decimals}f}"])
    rows.append(["margin", "", "", f"±{comparison['rule']['margin']:.4g}"])
    title = f"{name}: {metric['key']}, {metric['unit']}; {metric['better']} is better"
    sides = ("weights below 0", "weights above 0") if "contrast" in comparison else ("baseline", name)
    header = ("seed", *sides, "difference")
    return f"**{escape(title)}**\n\n{write_table(header, rows, numbers=True)}"


def _decimals(sd: float | None) -> int:
    """Two significant digits of the sd; four decimals without one."""
    return min(12, max(0, 1 - math.floor(math.log10(float(f"{sd:.2g}"))))) if sd else 4
