"""How much of the held-out text occurs in the training text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from paribus.data.evaluation import Side
from paribus.data.tokens import Corpus

NGRAM_BYTES = 50
"""Length of the runs looked for, as in Lee et al. 2022, arXiv 2107.06499 (who look for 50 tokens)."""

_CHUNK = 4_000_000


def measure_overlap(corpus: Corpus, n: int | None = None) -> dict[str, Any]:
    """Count what the held-out sides share with the training side, in tokens as the model sees them.

    Per side: ``documents`` and ``duplicate_documents`` (token for token a training document); ``ngrams`` and
    ``shared_ngrams`` (runs of n tokens inside a document, those that occur in training), ``shared_share`` their
    ratio, ``worst_document_share`` the largest ratio in one document, ``mostly_shared_documents`` those above a half.
    No run crosses a document's end. Some overlap is natural (licences, idioms); whole documents are not.

    Args:
        n: tokens in a run; None: as many as stand for 50 bytes of the training text.
    """
    train = corpus.side("train")
    if n is None:
        sizes = corpus.manifest["sides"]["train"]
        n = max(1, math.ceil(NGRAM_BYTES * sizes["tokens"] / sizes["bytes"]))
    known = set(_documents(train))
    held_out = {name: corpus.side(name) for name in ("validation", "confirm")}
    codes = np.random.Generator(np.random.PCG64(13)).integers(0, 2**64, size=corpus.vocab_size, dtype=np.uint64)
    runs = {name: _ngrams(side.tokens, n, codes, corpus.separator) for name, side in held_out.items()}
    hashes = np.concatenate([hashes for hashes, _ in runs.values()])
    occurs = _occur(hashes, train.tokens, n, codes, corpus.separator)
    shared_by = np.split(occurs, [len(runs["validation"][0])])
    sides = {}
    for (name, side), shared in zip(held_out.items(), shared_by, strict=True):
        owners = np.searchsorted(side.ends, runs[name][1], side="right")
        totals = np.bincount(owners, minlength=len(side.ends))
        ratios = np.bincount(owners, weights=shared, minlength=len(side.ends)) / np.maximum(totals, 1)
        sides[name] = {
            "documents": len(side.ends),
            "duplicate_documents": sum(document in known for document in _documents(side)),
            "ngrams": len(shared),
            "shared_ngrams": int(shared.sum()),
            "shared_share": float(shared.mean()) if len(shared) else 0.0,
            "worst_document_share": float(ratios.max(initial=0.0)),
            "mostly_shared_documents": int((ratios > 0.5).sum()),
        }
    return {"n": n, "sides": sides}


def _occur(hashes: np.ndarray, tokens: np.ndarray, n: int, codes: np.ndarray, separator: int) -> np.ndarray:
    """Which of ``hashes`` are hashes of runs of ``tokens``; (len(hashes),) bool. Memory is bounded by the hashes."""
    wanted, inverse = np.unique(hashes, return_inverse=True)
    found = np.zeros(len(wanted), dtype=bool)
    for start in range(0, len(tokens), _CHUNK):
        present, _ = _ngrams(tokens[start : start + _CHUNK + n - 1], n, codes, separator)
        present.sort()  # neighbours look in the same place: ten times faster on large corpora
        places = np.searchsorted(wanted, present)
        inside = places < len(wanted)
        places, present = places[inside], present[inside]
        found[places[wanted[places] == present]] = True
    return found[inverse]


def _ngrams(tokens: np.ndarray, n: int, codes: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
    """64-bit hashes of all runs of ``n`` tokens without a separator in them, and where they start.

    ``codes`` are V random numbers, one for each token.
    """
    count = len(tokens) - n + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    mixed = codes[tokens]
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(n):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += mixed[offset : offset + count]
    ends = np.concatenate([[0], np.cumsum(tokens == separator)])
    starts = np.flatnonzero(ends[n:] == ends[:count])
    return hashes[starts], starts


def _documents(side: Side) -> Iterator[bytes]:
    start = 0
    for end in side.ends.tolist():
        yield hashlib.sha256(side.tokens[start:end].tobytes()).digest()
        start = end
