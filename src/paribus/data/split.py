"""Which side of the split a document falls on: training, validation, or held back for confirmation.

Documents are split whole, by a hash of their normalised content. Documents that are equal after
normalisation, or nearly so, form a group, and a group stays on one side.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paribus.errors import DataError

SIDES = ("train", "validation", "confirm")
FEWEST_DOCUMENTS = 2  # a held-out side of one document says nothing about other documents

_SALT = b"paribus split 1"
_SHINGLE = 5  # words
_BANDS, _ROWS = 32, 4
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")  # scripts without spaces: one character is a word


@dataclass(frozen=True)
class Split:
    """The side of every document.

    Args:
        sides: per document an index into ``SIDES``.
        keys: per document the hex hash of its normalised content; a side's documents are stored in this order.
        groups: per document the number of its group; duplicates share one.
        exact: documents equal to an earlier one after normalisation.
        near: further documents that joined a group as near duplicates.
    """

    sides: np.ndarray
    keys: list[str]
    groups: np.ndarray
    exact: int
    near: int

    def members(self, side: str) -> list[int]:
        """Indices of the documents on ``side``, in the order of their keys."""
        chosen = np.flatnonzero(self.sides == SIDES.index(side))
        return sorted(chosen.tolist(), key=lambda index: self.keys[index])


def split_documents(
    texts: Sequence[str],
    validation_fraction: float = 0.1,
    confirm_fraction: float = 0.1,
    near_duplicate: float = 0.5,
) -> Split:
    """Split ``texts`` by document into training, validation and confirmation.

    Groups are ranked by the smallest hash among their members. Validation is filled from the bottom
    and confirmation from the top until each has its fraction of all characters and two documents;
    the rest is training. A group that would overshoot a target by half stays in training while
    smaller ones can be had. Neither order nor names of documents matter.

    Args:
        near_duplicate: two documents whose sets of five-word shingles have at least this Jaccard
            similarity are near duplicates.

    Raises DataError when there are too few groups for the sides asked for.
    """
    words = [normalise(text) for text in texts]
    keys = [hashlib.sha256(_SALT + text.encode()).hexdigest() for text in words]
    groups, exact, near = group_duplicates(words, keys, near_duplicate)
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[int(group)].append(index)
    ranked = sorted(members, key=lambda group: min(keys[index] for index in members[group]))
    sides = np.zeros(len(texts), dtype=np.int8)
    free = dict.fromkeys(ranked)  # an ordered set
    for side, fraction, order in ((1, validation_fraction, ranked), (2, confirm_fraction, ranked[::-1])):
        if fraction == 0:
            continue
        target = fraction * sizes.sum()
        chosen = _fill(target, [g for g in order if g in free], lambda g: int(sizes[members[g]].sum()), members)
        if chosen is None or len(chosen) >= len(free):
            raise DataError(
                f"{len(texts)} documents in {len(ranked)} groups without duplicates are too few to hold "
                f"{FEWEST_DOCUMENTS} out for {SIDES[side]} and keep some for training; "
                "give more or smaller documents"
            )
        for group in chosen:
            sides[members[group]] = side
            del free[group]
    return Split(sides, keys, groups, exact, near)


def normalise(text: str) -> str:
    """``text`` in NFKC and case-folded, each run of white space one space: what counts as the same document."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def group_duplicates(texts: Sequence[str], keys: Sequence[str], similarity: float) -> tuple[np.ndarray, int, int]:
    """Group numbers of normalised ``texts`` (equal for duplicates), count of exact and of near duplicates.

    Near duplicates are proposed by MinHash in 32 bands of 4 rows (a pair of similarity s is proposed
    with probability 1 - (1 - s^4)^32: .87 at .5, .999 at .7) and admitted by their true Jaccard similarity.
    Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman, Ullman, ch. 3.
    """
    first_of: dict[str, int] = {}
    originals = [first_of.setdefault(key, index) for index, key in enumerate(keys)]
    parent = list(originals)
    distinct = sorted(first_of.values())
    shingles = dict(zip(distinct, _shingles(texts[index] for index in distinct), strict=True))
    near = 0
    for left, right in _proposals(shingles, lambda index: _root(parent, index), similarity):
        parent[max(left, right)] = min(left, right)
        near += 1
    groups = np.array([_root(parent, index) for index in range(len(texts))], dtype=np.int64)
    return groups, len(texts) - len(distinct), near


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """Size of the intersection over size of the union of two sorted sets."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared) if shared else 0.0


def _fill(
    target: float, order: list[int], size: Callable[[int], int], members: dict[int, list[int]]
) -> list[int] | None:
    """Groups in ``order`` until ``target`` characters and the fewest documents are reached; None if they cannot be."""
    for overshoot in (1.5, float("inf")):
        chosen: list[int] = []
        total = documents = 0
        for group in order:
            if total >= target and documents >= FEWEST_DOCUMENTS:
                return chosen
            if total + size(group) <= overshoot * target:
                chosen.append(group)
                total += size(group)
                documents += len(members[group])
        if total > 0 and documents >= FEWEST_DOCUMENTS:
            return chosen
    return None


def _shingles(texts: Iterator[str]) -> Iterator[np.ndarray]:
    """Per text the sorted set of hashes of its five-word sequences; of the whole text where it is shorter."""
    hashes = _WordHashes()
    for text in texts:
        words = np.array([hashes[word] for word in _WORD.findall(text)], dtype=np.uint64)
        width = min(_SHINGLE, len(words))
        if not width:
            yield np.array([hashes[text]], dtype=np.uint64)
            continue
        mixed = np.zeros(len(words) - width + 1, dtype=np.uint64)
        for offset in range(width):
            mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + words[offset : offset + len(mixed)]
        yield np.unique(mixed ^ (mixed >> np.uint64(29)))


class _WordHashes(dict):
    def __missing__(self, word: str) -> int:
        self[word] = value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return value


def _signatures(shingles: dict[int, np.ndarray]) -> np.ndarray:
    """MinHash signatures: per document the least value of each of 128 multiply-shift hashes."""
    rng = np.random.Generator(np.random.PCG64(20240607))
    factors = rng.integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, size=_BANDS * _ROWS, dtype=np.uint64)
    signatures = np.full((len(shingles), _BANDS * _ROWS), np.iinfo(np.uint32).max, dtype=np.uint32)
    for row, values in enumerate(shingles.values()):
        for start in range(0, len(values), 2048):  # keeps the product table in the cache
            table = (values[start : start + 2048, None] * factors + shifts) >> np.uint64(32)
            np.minimum(signatures[row], table.min(axis=0).astype(np.uint32), out=signatures[row])
    return signatures


def _proposals(
    shingles: dict[int, np.ndarray], root: Callable[[int], int], similarity: float
) -> Iterator[tuple[int, int]]:
    """Roots of groups to unite. In each bucket every document meets one leader of each group already there."""
    documents = np.array(list(shingles), dtype=np.int64)
    signatures = _signatures(shingles)
    rejected: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        rows = np.ascontiguousarray(signatures[:, band * _ROWS : (band + 1) * _ROWS])
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for document, row in zip(documents.tolist(), rows, strict=True):
            buckets[row.tobytes()].append(document)
        for bucket in buckets.values():
            leaders: list[int] = []
            for document in bucket:
                for leader in leaders:
                    pair = (leader, document)
                    if root(leader) == root(document):
                        break
                    if pair in rejected:
                        continue
                    if jaccard(shingles[leader], shingles[document]) >= similarity:
                        yield root(leader), root(document)
                        break
                    rejected.add(pair)
                else:
                    leaders.append(document)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index
