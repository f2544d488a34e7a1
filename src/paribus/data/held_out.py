"""The held-out windows that every run scores, grouped by document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from paribus.errors import DataError

IGNORED = -1
"""Target of a position that is not scored."""


@dataclass(frozen=True)
class Side:
    """One side of the split: all its documents' tokens on end.

    Args:
        name: "train", "validation" or "confirm".
        tokens: (N,) ids; every document ends with a separator.
        ends: (J,) where each document ends in ``tokens``, its separator included.
        n_bytes: (N,) bytes of text each token stands for; None for training, and where they are not known.
    """

    name: str
    tokens: np.ndarray
    ends: np.ndarray
    n_bytes: np.ndarray | None


@dataclass(frozen=True)
class HeldOut:
    """Windows of held-out tokens, which are scored; of a corpus, no window holds more than one document.

    Args:
        inputs: (W, T) int64 ids; of a corpus, a document's first input is the separator, and padding is, too.
        targets: (W, T) int64 next ids, ``IGNORED`` where nothing is scored.
        documents: (W, T) int64, the document of each target, from 0; padding bears its window's document.
        window_bytes: (W,) int64 bytes of text that the scored targets of a window stand for, a separator for none; None
            where they are not known.
    """

    inputs: np.ndarray
    targets: np.ndarray
    documents: np.ndarray
    window_bytes: np.ndarray | None

    def part(self, max_tokens: int) -> HeldOut:
        """At most ``max_tokens`` of them, and one window at least: windows that are spread evenly over all."""
        n = min(max(1, max_tokens // self.inputs.shape[1]), len(self.inputs))
        chosen = np.arange(n) * len(self.inputs) // n
        window_bytes = None if self.window_bytes is None else self.window_bytes[chosen]
        return HeldOut(self.inputs[chosen], self.targets[chosen], self.documents[chosen], window_bytes)

    @property
    def n_documents(self) -> int:
        return int(self.documents.max()) + 1

    @property
    def n_tokens(self) -> int:
        """Scored tokens."""
        return int((self.targets != IGNORED).sum())

    @property
    def document_tokens(self) -> np.ndarray:
        """(J,) int64 scored tokens of each document."""
        return np.bincount(self.documents[self.targets != IGNORED], minlength=self.n_documents).astype(np.int64)

    @property
    def document_bytes(self) -> np.ndarray | None:
        """(J,) int64 bytes of each document's scored text; None where they are not known."""
        if self.window_bytes is None:
            return None
        return np.bincount(self.documents[:, 0], self.window_bytes).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the inputs, the targets, their documents and the documents' bytes."""
        n_bytes = [] if self.document_bytes is None else [self.document_bytes]
        digest = hashlib.sha256(repr(self.inputs.shape).encode())
        for array in (self.inputs, self.targets, self.documents, *n_bytes):
            digest.update(np.ascontiguousarray(array).astype("<i8").tobytes())
        return digest.hexdigest()


def choose_windows(side: Side, seq_len: int, max_tokens: int, separator: int) -> HeldOut:
    """Choose at most ``max_tokens // seq_len`` windows of ``side``, from as many documents as possible.

    A document is ``[separator, first token, ..., last token, separator]``, cut into pieces of T targets. A
    piece that is not full is scored only where it is a document's only one, so little is padded. All documents
    get the same number of windows as far as they have them (documents come in hash order, so the
    first ones are a random choice), and a document's windows are spread evenly over it: many documents
    matter more than long ones, since documents differ more than their parts.

    Raises DataError for the training side, fewer than two documents or room for fewer than two windows.
    """
    if side.name == "train":
        raise DataError(f"the {side.name} side is not held out; score 'validation' or 'confirm'")
    if len(side.ends) < 2:
        raise DataError(f"the {side.name} side has {len(side.ends)} documents, expected at least 2 to score")
    n_windows = max_tokens // seq_len if seq_len > 0 else 0
    if n_windows < 2:
        raise DataError(f"max_tokens {max_tokens} leaves room for fewer than 2 windows of seq_len {seq_len}")
    starts = np.concatenate([[0], side.ends[:-1]])
    pieces = np.maximum((side.ends - starts) // seq_len, 1)  # (J,) windows each document can give
    quota = share_windows(pieces, n_windows)
    inputs, targets, documents, n_bytes = [], [], [], []
    for document, chosen in enumerate(np.flatnonzero(quota)):
        tokens = side.tokens[starts[chosen] : side.ends[chosen]].astype(np.int64)
        lengths = None if side.n_bytes is None else side.n_bytes[starts[chosen] : side.ends[chosen]]
        before = np.concatenate([[separator], tokens[:-1]])
        for index in range(quota[chosen]):
            start = index * int(pieces[chosen]) // int(quota[chosen]) * seq_len
            piece = slice(start, start + seq_len)
            inputs.append(_pad(before[piece], seq_len, separator))
            targets.append(_pad(tokens[piece], seq_len, IGNORED))
            documents.append(np.full(seq_len, document))
            n_bytes.append(0 if lengths is None else int(lengths[piece].sum()))
    window_bytes = None if side.n_bytes is None else np.array(n_bytes, dtype=np.int64)
    return HeldOut(np.stack(inputs), np.stack(targets), np.stack(documents), window_bytes)


def share_windows(pieces: np.ndarray, n_windows: int) -> np.ndarray:
    """Give ``n_windows`` to documents that can use ``pieces`` each, as evenly as possible, earlier ones first."""
    if pieces.sum() <= n_windows:
        return pieces.copy()
    low, high = 0, int(pieces.max())
    while high - low > 1:  # the largest level that can be paid for all
        level = (low + high) // 2
        low, high = (level, high) if np.minimum(pieces, level).sum() <= n_windows else (low, level)
    quota = np.minimum(pieces, low)
    more = np.flatnonzero(pieces > low)[: n_windows - int(quota.sum())]
    quota[more] += 1
    return quota


def _pad(values: np.ndarray, length: int, filler: int) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), filler, dtype=np.int64)])
