"""Document noise: how far the difference would move on other evaluation documents of the same kind.

Seed noise (initial weights, data order, chaos) shrinks with more pairs; document noise shrinks only with more
evaluation documents. An interval over documents within one pair compares two checkpoints, not two
architectures, so it never makes a verdict; here it widens one.
"""

from __future__ import annotations

import math

import numpy as np

from paribus.errors import JudgementError

WANTED_SHARE = 1 / 3
"""Aim for a document standard error of at most this share of the seed standard error."""


def estimate_document_error(differences: np.ndarray, weights: np.ndarray) -> float | None:
    """SE_doc of the weighted mean difference, in the metric's unit; None below two pairs or two documents.

    D_sk is the difference of pair s on document k, Dbar_.k its mean over pairs, theta = sum_k w_k Dbar_.k and
    res_sk = D_sk - Dbar_s. - Dbar_.k + Dbar_.. with unweighted means:
    SE_doc^2 = max(0, J/(J-1) sum_k w_k^2 (Dbar_.k - theta)^2 - v_W), v_W = J/(J-1) n/(n-1) n^-2 sum_sk w_k^2 res_sk^2.
    The first term is the variance over documents of the mean difference; v_W takes away what is seed noise in it.

    Args:
        differences: (pairs, documents), mean loss of the treatment minus that of the baseline.
        weights: (documents,), token counts or shares; made to sum to 1.

    Raises JudgementError for weights that do not fit or a difference that is not finite.
    """
    differences, weights = np.asarray(differences, dtype=float), np.asarray(weights, dtype=float)
    n_pairs, n_documents = differences.shape
    if weights.shape != (n_documents,):
        raise JudgementError(f"{n_documents} documents but weights of shape {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise JudgementError("document weights must be finite, not negative and not all zero")
    if not np.isfinite(differences).all():
        raise JudgementError("a per-document loss is not finite although its run is done")
    if n_pairs < 2 or n_documents < 2:
        return None
    w = weights / weights.sum()
    by_document = differences.mean(axis=0)  # (documents,)
    theta = w @ by_document
    residuals = differences - differences.mean(axis=1, keepdims=True) - by_document + differences.mean()
    correction = n_documents / (n_documents - 1)
    between = correction * (w**2) @ (by_document - theta) ** 2
    within = correction * n_pairs / (n_pairs - 1) / n_pairs**2 * ((w**2) * residuals**2).sum()
    return math.sqrt(max(0.0, float(between - within)))


def name_knob(se_doc: float, se_seed: float) -> str:
    """What narrows the wider claim: "evaluation documents" where SE_doc > SE_seed / 3, else "seeds"."""
    return "evaluation documents" if se_doc > WANTED_SHARE * se_seed else "seeds"
