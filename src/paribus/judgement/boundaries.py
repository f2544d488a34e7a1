"""How far a mean must lie from zero, in standard errors, when one looks after every pair.

An ordinary t interval at 95 % that is drawn again after every pair is wrong far more often than 5 %. The
boundaries here are t quantiles at one constant, stricter level, chosen so that looking at every pair from
``n_min`` to ``n_max`` is wrong with exactly the stated probability, for small n too.

Source: Pocock 1977 (constant level over looks); Jennison and Turnbull 1984, 1989 (repeated confidence
intervals); the recursion is Armitage, McPherson and Rowe's (1969), written for the t statistic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from paribus.design.study import MOST_SEEDS
from paribus.errors import StudyError

# Against pieces five times as short and kinks followed through all looks, these move a crossing probability of .05
# by 2e-7 at n_max = 10 and by 1e-6 at n_max = 20.
_PIECE = 0.25  # longest piece of r on which a continuation function is one polynomial
_NODES = 6  # Chebyshev nodes per piece
_POINTS = 8  # quadrature points per segment
_FOLDS = 3  # how many looks ahead a bound still leaves a kink that is worth a breakpoint


@dataclass(frozen=True)
class Boundaries:
    """The critical values of every look.

    Args:
        a_sign: two-sided level of each look's interval.
        a_equiv: two-sided level of each look's equivalence interval, of which only one side can err.
        c: by n, standard errors between the mean and either end of the interval.
        e: by n, the same for the equivalence interval.
    """

    a_sign: float
    a_equiv: float
    c: dict[int, float]
    e: dict[int, float]


@lru_cache(maxsize=64)
def find_boundaries(error: float, n_min: int, n_max: int) -> Boundaries:
    """The boundaries that are wrong with probability ``error``: alpha over the primary treatments.

    ``a_sign`` solves P0(some |T_n| > t[n-1, 1 - a_sign/2]) = error and ``a_equiv`` solves
    P0(some T_n > t[n-1, 1 - a_equiv/2]) = error, n = n_min..n_max; both exactly (see ``crossing_probability``).

    Raises StudyError for looks or an error rate that make no sense.
    """
    if not 2 <= n_min <= n_max <= MOST_SEEDS:
        raise StudyError(f"need 2 <= n_min <= n_max <= {MOST_SEEDS}, got {n_min} and {n_max}")
    if not 0 < error < 0.5:
        raise StudyError(f"the error rate of a boundary lies between 0 and 0.5, got {error}")
    looks = range(n_min, n_max + 1)
    a_sign = _solve_level(lambda level: crossing_probability(_t_bounds(level, looks), two_sided), error, len(looks))
    a_equiv = _solve_level(
        lambda level: crossing_probability(_t_bounds(level, looks), one_sided), 2 * error, len(looks), target=error
    )
    return Boundaries(a_sign, a_equiv, _t_bounds(a_sign, looks), _t_bounds(a_equiv, looks))


def crossing_probability(bounds: dict[int, float], sides: Callable[[int, float], tuple[float, float]]) -> float:
    """Exact probability, where the true difference is 0, that some T_n passes ``bounds[n]``.

    With S = sum d and V = sum d^2, r_n = S_n / sqrt(V_n) does not depend on the scale of d and is Markov:
    r_{n+1} = r_n cos(psi) + sin(psi), the density of psi proportional to cos(psi)^(n-1), and
    T_n = r_n sqrt(n-1) / sqrt(n - r_n^2). Backwards from the last look, G_n(r) is the chance to stay inside
    all later looks, given r_n = r; the answer is 1 - E G over the first look.

    Args:
        bounds: critical value of T by n, for consecutive n.
        sides: ``two_sided`` or ``one_sided``: the range of r that a look leaves open.
    """
    looks = sorted(bounds)
    ranges = {n: sides(n, _bound_of_r(n, bounds[n])) for n in looks}
    stay = None
    for n in reversed(looks):
        edges = _smooth_pieces(n, ranges)
        nodes = _piece_nodes(edges)
        if stay is None:
            values = np.ones_like(nodes)
        else:
            values = _expect_next(n, nodes.ravel(), *stay, ranges[n + 1]).reshape(nodes.shape)
        stay = (edges, _fit(values))
    assert stay  # there is a look
    return 1.0 - _expect_first(looks[0], *stay)


def two_sided(n: int, bound: float) -> tuple[float, float]:
    """The range of r_n that neither passes ``bound`` nor its negative."""
    return -bound, bound


def one_sided(n: int, bound: float) -> tuple[float, float]:
    """The range of r_n below ``bound``; |r_n| never exceeds sqrt(n)."""
    return -math.sqrt(n), bound


def _t_bounds(level: float, looks: range) -> dict[int, float]:
    from scipy.special import stdtrit

    return {n: float(-stdtrit(n - 1, level / 2)) for n in looks}


def _solve_level(
    probability: Callable[[float], float], most: float, n_looks: int, target: float | None = None
) -> float:
    """The level whose crossing probability is ``target``; Bonferroni and one single look bracket it."""
    from scipy.optimize import brentq

    goal = most if target is None else target
    if n_looks == 1:
        return most

    def excess(log_level: float) -> float:
        return math.log(probability(math.exp(log_level)) / goal)

    return math.exp(brentq(excess, math.log(most / n_looks), math.log(most), xtol=1e-9))


def _bound_of_r(n: int, bound: float) -> float:
    return bound * math.sqrt(n / (n - 1 + bound**2))


def _smooth_pieces(n: int, ranges: dict[int, tuple[float, float]]) -> np.ndarray:
    """Ends of the pieces on which G_n is fitted.

    The largest r_{n+1} that r_n = r can reach is sqrt(1 + r^2); where that meets a later bound, G has a kink.
    """
    low, high = ranges[n]
    ends = set(np.linspace(low, high, math.ceil((high - low) / _PIECE) + 1).tolist())
    for ahead in range(1, _FOLDS + 1):
        if n + ahead not in ranges:
            break
        for end in ranges[n + ahead]:
            # an open side ends at sqrt(n) itself, which is reached but never passed: no kink
            inner = end**2 - ahead
            if end**2 < n + ahead - 1e-12 and inner > 0:
                ends.add(math.copysign(math.sqrt(inner), end))
    return np.array(sorted(end for end in ends if low <= end <= high))


def _unit_nodes() -> np.ndarray:
    return np.cos((np.arange(_NODES) + 0.5) * math.pi / _NODES)


def _piece_nodes(edges: np.ndarray) -> np.ndarray:
    """Nodes of every piece; the sine makes square-root behaviour at a piece's ends polynomial."""
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return middle[:, None] + half[:, None] * np.sin(math.pi / 2 * _unit_nodes())  # (pieces, nodes)


def _fit(values: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients of each piece, (pieces, degree)."""
    angle = (np.arange(_NODES) + 0.5) * math.pi / _NODES
    cosines = np.cos(np.outer(np.arange(_NODES), angle))
    coefficients = values @ cosines.T * (2 / _NODES)
    coefficients[:, 0] /= 2
    return coefficients


def _evaluate(r: np.ndarray, piece: np.ndarray, edges: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """G at ``r`` (segments, points), each row inside one piece; Clenshaw's recurrence."""
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = np.clip((r - middle[piece, None]) / half[piece, None], -1, 1)
    u = np.arcsin(x) * (2 / math.pi)
    rows = coefficients[piece]
    later, value = np.zeros_like(u), np.zeros_like(u)
    for k in range(_NODES - 1, 0, -1):
        later, value = value, 2 * u * value - later + rows[:, k, None]
    return u * value - later + rows[:, 0, None]


@lru_cache(maxsize=1)
def _unit_quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [-1, 1] after x = (3u - u^3) / 2, which removes square roots at both ends."""
    u, weight = np.polynomial.legendre.leggauss(_POINTS)
    return (3 * u - u**3) / 2, 1.5 * (1 - u**2) * weight


def _expect_next(
    n: int, r: np.ndarray, edges: np.ndarray, coefficients: np.ndarray, inside: tuple[float, float]
) -> np.ndarray:
    """E[G_{n+1}(r_{n+1}); still inside] for every r_n in ``r``.

    With R = sqrt(1 + r^2) and theta = psi + arctan(r), r_{n+1} = R sin(theta); the theta axis is cut where
    r_{n+1} meets an edge.
    """
    reach, turn = np.sqrt(1 + r**2), np.arctan(r)
    first, last = turn - math.pi / 2, turn + math.pi / 2
    meet = np.arcsin(np.clip(edges / reach[:, None], -1, 1))  # (r, edges)
    cuts = np.concatenate([first[:, None], last[:, None], meet, math.pi - meet, -math.pi - meet], axis=1)
    cuts = np.sort(np.clip(cuts, first[:, None], last[:, None]), axis=1)
    start, end = cuts[:, :-1].ravel(), cuts[:, 1:].ravel()
    owner = np.repeat(np.arange(len(r)), cuts.shape[1] - 1)
    center = reach[owner] * np.sin((start + end) / 2)
    keep = (end - start > 1e-14) & (center > inside[0]) & (center < inside[1])
    start, end, owner, center = start[keep], end[keep], owner[keep], center[keep]
    piece = np.clip(np.searchsorted(edges, center) - 1, 0, len(edges) - 2)

    x, weight = _unit_quadrature()
    half = (end - start) / 2
    theta = (start + end)[:, None] / 2 + half[:, None] * x  # (segments, points)
    density = np.cos(theta - turn[owner, None]) ** (n - 1)
    values = _evaluate(reach[owner, None] * np.sin(theta), piece, edges, coefficients)
    parts = half * ((values * density) @ weight)
    return np.bincount(owner, weights=parts, minlength=len(r)) / _cosine_integral(n - 1)


def _expect_first(n: int, edges: np.ndarray, coefficients: np.ndarray) -> float:
    """E[G_n(r_n); inside] at the first look: r_n = sqrt(n) sin(angle), density of the angle ~ cos^(n-2)."""
    angles = np.arcsin(np.clip(edges / math.sqrt(n), -1, 1))
    x, weight = _unit_quadrature()
    half = (angles[1:] - angles[:-1]) / 2
    angle = (angles[1:] + angles[:-1])[:, None] / 2 + half[:, None] * x
    values = _evaluate(math.sqrt(n) * np.sin(angle), np.arange(len(half)), edges, coefficients)
    parts = half * ((values * np.cos(angle) ** (n - 2)) @ weight)
    return float(parts.sum() / _cosine_integral(n - 2))


def _cosine_integral(power: int) -> float:
    """Integral of cos^power over (-pi/2, pi/2)."""
    return math.sqrt(math.pi) * math.gamma((power + 1) / 2) / math.gamma(power / 2 + 1)
