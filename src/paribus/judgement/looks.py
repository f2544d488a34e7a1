"""One look after every pair: the same functions judge one comparison and a hundred thousand simulated ones.

Arrays of differences have the shape (experiments, pairs); they are oriented, so that negative is better.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from paribus.errors import JudgementError
from paribus.judgement.rules import Rule


class Ending(IntEnum):
    """What a look says. OPEN means: go on to the next pair."""

    OPEN = 0
    UNSTABLE = 1  # a run diverged
    IDENTICAL = 2  # every difference is exactly 0: equivalent
    SEEDLESS = 3  # every difference is the same number and not 0: seeds have no effect, invalid
    EQUIVALENT = 4
    BETTER = 5
    WORSE = 6
    EXHAUSTED = 7  # n_max pairs and no verdict: undecided
    UNLIKELY = 8  # gave up early: undecided


def replay(
    differences: np.ndarray, rule: Rule, document_errors: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Go through the looks in order; the first that ends an experiment wins and later pairs are not read.

    Args:
        differences: (experiments, pairs), oriented; NaN where a member of the pair diverged.
        document_errors: SE_doc at each look, broadcast to (experiments, pairs). 0 judges on this evaluation set only.

    Returns the ending and the number of pairs it took, each (experiments,); OPEN where the pairs do not suffice.
    Raises JudgementError for more pairs than were registered.
    """
    experiments, n_pairs = differences.shape
    if n_pairs > rule.n_max:
        raise JudgementError(f"{n_pairs} pairs, but at most {rule.n_max} were registered")
    document_errors = np.broadcast_to(document_errors, differences.shape)
    endings = np.full(experiments, Ending.OPEN, dtype=np.int64)
    stops = np.full(experiments, n_pairs, dtype=np.int64)
    going = np.arange(experiments)
    for n in range(1, n_pairs + 1):
        codes = look(differences[going, :n], rule, document_errors[going, n - 1])
        ended = codes != Ending.OPEN
        endings[going[ended]], stops[going[ended]] = codes[ended], n
        going = going[~ended]
        if not len(going):
            break
    return endings, stops


def look(d: np.ndarray, rule: Rule, se_doc: np.ndarray | float = 0.0) -> np.ndarray:
    """What the first n pairs say: one Ending per row of ``d`` (experiments, n).

    The rules are tested in this order and the first that fires wins. All inequalities are strict: a tie goes on.
    """
    n = d.shape[1]
    diverged = ~np.isfinite(d).all(axis=1)
    if n < rule.n_min:
        return np.where(diverged, Ending.UNSTABLE, Ending.OPEN)
    low, high = d.min(axis=1), d.max(axis=1)
    mean, sd = moments(d)
    h, he = half_widths(n, sd, rule, se_doc)
    return np.select(
        [
            diverged,
            (low == 0) & (high == 0),
            low == high,
            (mean - he > -rule.margin) & (mean + he < rule.margin),
            mean + h < 0,
            mean - h > 0,
            np.full(len(d), n == rule.n_max),
            predict_verdict(n, mean, sd, rule) < rule.give_up,
        ],
        [
            Ending.UNSTABLE,
            Ending.IDENTICAL,
            Ending.SEEDLESS,
            Ending.EQUIVALENT,
            Ending.BETTER,
            Ending.WORSE,
            Ending.EXHAUSTED,
            Ending.UNLIKELY,
        ],
        Ending.OPEN,
    )


def moments(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 1) of each row of ``d`` (experiments, n), n >= 2."""
    with np.errstate(invalid="ignore"):
        return d.mean(axis=1), d.std(axis=1, ddof=1)


def half_widths(
    n: int, sd: np.ndarray | float, rule: Rule, se_doc: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Half widths of the interval and of the equivalence interval after n pairs, in the metric's unit.

    h = hypot(c_n sd / sqrt(n), z[1 - a/2] SE_doc) and he = hypot(e_n sd / sqrt(n), z[1 - a] SE_doc), a = alpha / K.
    """
    from scipy.special import ndtri

    se = np.asarray(sd, dtype=float) / np.sqrt(n)
    h = np.hypot(rule.boundaries.c[n] * se, ndtri(1 - rule.error / 2) * np.asarray(se_doc))
    he = np.hypot(rule.boundaries.e[n] * se, ndtri(1 - rule.error) * np.asarray(se_doc))
    return h, he


def predict_verdict(n: int, mean: np.ndarray, sd: np.ndarray, rule: Rule) -> np.ndarray:
    """Predicted chance that N = n_max pairs end in a verdict, were there a look at N alone; 1 before n_min + 1 pairs.

    tau = sd sqrt((N-n) / (nN)), w = c_N sd / sqrt(N), k = m - e_N sd / sqrt(N), F Student's t with n-1 degrees of
    freedom: 1 - F((w-mean)/tau) + F((-w-mean)/tau), plus F((k-mean)/tau) - F((-k-mean)/tau) where k > 0. SE_doc counts
    as 0. Giving up on it is non-binding: it costs power, never error.
    """
    from scipy.special import stdtr

    last = rule.n_max
    if not rule.n_min < n < last or rule.give_up == 0:
        return np.ones_like(mean)
    tau = sd * np.sqrt((last - n) / (n * last))
    w, he = half_widths(last, sd, rule)
    k = rule.margin - he
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sign = 1 - stdtr(n - 1, (w - mean) / tau) + stdtr(n - 1, (-w - mean) / tau)
        inside = stdtr(n - 1, (k - mean) / tau) - stdtr(n - 1, (-k - mean) / tau)
    return sign + np.where(k > 0, inside, 0.0)
