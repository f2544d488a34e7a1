"""How much of the held-out text occurs in the training text."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from paribus.data.corpus import Corpus
from paribus.data.held_out import Side
from paribus.errors import DataError

NGRAM_BYTES = 50
"""Length of the runs looked for, as in Lee et al. 2022, arXiv 2107.06499 (who look for 50 tokens)."""

NGRAM_TOKENS, NGRAM_BITS = 16, 64
"""Length of the runs of tokens whose bytes are not known: as many as hold 64 bits, were all tokens drawn for
themselves, and at least 16. A corpus of 2^32 such runs holds a given one by chance once in 2^32 times."""

_CHUNK = 4_000_000
_SAMPLED = 256  # documents whose beginnings, or all of whose passages, are looked for
_SAMPLED_TOKENS = 250_000
_PLACES = 64  # at which a beginning is compared

COMMON, FEWEST_COMMON = 0.05, 3
"""A passage that stands in more than this share of the training documents, and in more than three, is common: an
empty ground, a rest, a header. It says nothing of where a document comes from."""

TELLING_BITS, THIRD_BITS = 32, 4
"""What two windows have to agree in, by the bigrams of the training side, and in the first and the last third: 100
equal tokens in a row hold few bits, and pictures begin and end with them."""
_PRIOR = 64.0  # how many times a token must occur before its successors count more than the frequencies of all tokens


def measure_overlap(corpus: Corpus, n: int | None = None) -> dict[str, Any]:
    """Count what the held-out sides share with the training side, in tokens as the model sees them.

    ``n``; ``train_repeats``, the share of the training documents that are there twice or more; and per side:
    ``documents`` and ``duplicate_documents`` (token for token a training document), ``long_duplicates`` those of n
    tokens or more; ``ngrams`` and ``shared_ngrams`` (runs of n tokens inside a document, those that occur in training),
    ``shared_share`` their ratio, ``worst_document_share`` the largest ratio in one document,
    ``mostly_shared_documents`` those above a half, ``example`` one shared run as text or ids, None without any.
    No run crosses a document's end. Some overlap is natural (licences, idioms); whole documents are not.

    Args:
        n: tokens in a run; None: see ``choose_length``.
    """
    train = corpus.side("train")
    n = choose_length(corpus) if n is None else n
    known = Counter(_documents(train))
    held_out = {name: corpus.side(name) for name in corpus.manifest["sides"] if name != "train"}
    codes = _draw_codes(corpus)
    runs = {name: _ngrams(side.tokens, n, codes, corpus.separator) for name, side in held_out.items()}
    hashes = np.concatenate([hashes for hashes, _ in runs.values()])
    occurs = _occur(hashes, train.tokens, n, codes, corpus.separator)
    shared_by = np.split(occurs, np.cumsum([len(hashes) for hashes, _ in runs.values()])[:-1])
    sides = {}
    for (name, side), shared in zip(held_out.items(), shared_by, strict=True):
        owners = np.searchsorted(side.ends, runs[name][1], side="right")
        totals = np.bincount(owners, minlength=len(side.ends))
        ratios = np.bincount(owners, weights=shared, minlength=len(side.ends)) / np.maximum(totals, 1)
        duplicates = np.array([document in known for document in _documents(side)], dtype=bool)
        long = np.diff(side.ends, prepend=0) > n
        sides[name] = {
            "documents": len(side.ends),
            "duplicate_documents": int(duplicates.sum()),
            "long_duplicates": int((duplicates & long).sum()),
            "ngrams": len(shared),
            "shared_ngrams": int(shared.sum()),
            "shared_share": float(shared.mean()) if len(shared) else 0.0,
            "worst_document_share": float(ratios.max(initial=0.0)),
            "mostly_shared_documents": int((ratios > 0.5).sum()),
            "example": _show(corpus, side.tokens, runs[name][1][shared], n),
        }
    repeats = sum(count for count in known.values() if count > 1) / max(len(train.ends), 1)
    return {"n": n, "train_repeats": repeats, "sides": sides}


def measure_repetition(corpus: Corpus, side: str, n: int | None = None) -> dict[str, Any]:
    """How much the training documents hold of each other, and which documents of ``side`` have one partner there.

    ``train_shared_share``: of the runs of n tokens in a sample of the training documents, the share that stands in
    another training document that is no copy; ``by_chance``: what ``side`` may share then, three standard errors more;
    ``documents`` of ``side`` looked at, at most 256; ``near_copies`` those of them more than half of whose runs stand
    together in one training document, common runs (see ``COMMON``) not counted. Documents drawn for themselves share
    as much with training as training documents with each other, however much that is; documents of which altered
    copies were made are told by their partner, although training documents have such partners too.
    """
    n = choose_length(corpus) if n is None else n
    train, held_out = corpus.side("train"), corpus.side(side)
    _, first, names = np.unique(list(_documents(train)), return_index=True, return_inverse=True)
    codes = _draw_codes(corpus)
    samples = [_sample(train, np.sort(first)), _sample(held_out, np.arange(len(held_out.ends)))]
    runs = [
        _runs_of(of, chosen, n, codes, corpus.separator) for of, chosen in zip((train, held_out), samples, strict=True)
    ]
    wanted, inverse = np.unique(np.concatenate([hashes for hashes, _ in runs]), return_inverse=True)
    index, owners = _standing(wanted, train, names, n, codes, corpus.separator)
    counts = np.bincount(index, minlength=len(wanted))
    of_train, of_held_out = np.split(inverse, [len(runs[0][0])])
    share, by_chance = _compare_shares(counts[of_train] > 1, runs[0][1], runs[1][1])
    common = counts > max(FEWEST_COMMON, COMMON * len(first))
    firsts = np.concatenate([[0], np.cumsum(counts)])
    near = 0
    for document in range(len(samples[1])):
        mine = of_held_out[runs[1][1] == document]
        telling = mine[~common[mine]]
        partners = _ranges(firsts[telling], counts[telling])
        near += bool(len(partners)) and 2 * int(np.bincount(owners[partners]).max()) > len(mine)
    return {
        "train_shared_share": share,
        "by_chance": by_chance,
        "documents": len(samples[1]),
        "near_copies": near,
    }


def measure_plain_text(corpus: Corpus, side: str) -> dict[str, Any] | None:
    """What ``side`` shares with training once case and whitespace are left out, and digits among words.

    ``ngrams`` of 50 bytes inside a document of ``side``, and ``shared_share``, the share that stands in training.
    None where the tokens cannot be decoded.
    """
    if corpus.is_own and corpus.decode_ids is None:
        return None
    separator = 256
    codes = np.random.Generator(np.random.PCG64(13)).integers(0, 2**64, size=separator + 1, dtype=np.uint64)
    train, held_out = (_plain_bytes(corpus, corpus.side(name), separator) for name in ("train", side))
    hashes, _ = _ngrams(held_out, NGRAM_BYTES, codes, separator)
    shared = _occur(hashes, train, NGRAM_BYTES, codes, separator)
    return {"ngrams": len(hashes), "shared_share": float(shared.mean()) if len(shared) else 0.0}


def _plain_bytes(corpus: Corpus, side: Side, separator: int) -> np.ndarray:
    """The bytes of all documents without case and whitespace, each with ``separator`` behind it."""
    pieces: list[np.ndarray] = []
    for start, end in zip([0, *side.ends[:-1].tolist()], side.ends.tolist(), strict=True):
        text = "".join(corpus.decode(side.tokens[start:end].tolist()).casefold().split())
        if 2 * sum(map(str.isalpha, text)) > len(text):
            text = "".join(character for character in text if not character.isdigit())
        pieces += [np.frombuffer(text.encode(errors="replace"), dtype=np.uint8), np.array([separator])]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)


def choose_length(corpus: Corpus) -> int:
    """Tokens that stand for 50 bytes; for a data set of the user's own at least so many that chance repeats none."""
    sizes = corpus.manifest["sides"]["train" if not corpus.is_own else "validation"]
    of_bytes = max(1, math.ceil(NGRAM_BYTES * sizes["tokens"] / sizes["bytes"])) if sizes["bytes"] else NGRAM_TOKENS
    return max(of_bytes, rare_length(corpus)) if corpus.is_own else of_bytes


def rare_length(corpus: Corpus) -> int:
    """Tokens that hold 64 bits, by the frequencies of single tokens in the training documents."""
    counts = np.bincount(corpus.train_tokens, minlength=corpus.vocab_size).astype(float)
    counts[corpus.separator] = 0
    shares = counts[counts > 0] / counts.sum()
    bits = float(-(shares * np.log2(shares)).sum())
    return math.ceil(NGRAM_BITS / bits) if bits > NGRAM_BITS / 10_000 else 10_000


def measure_windows(corpus: Corpus, side: str) -> dict[str, Any]:
    """How many documents of ``side`` go on where a training document stops: windows that overlap in one text.

    ``documents`` looked at, at most 256; ``continuing`` those of them that begin inside a training document and agree
    with it to its end, or to their own, in 32 bits or more; ``length`` the tokens that have to agree at least. A shift
    by up to half a window is found. Text whose documents are much longer than the runs of ``measure_overlap`` is not
    looked at: its shared passages tell, and it is said there.
    """
    held_out, train, separator = corpus.side(side), corpus.side("train"), corpus.separator
    starts = np.concatenate([[0], held_out.ends[:-1]])
    sizes = held_out.ends - starts - 1
    n, usual = choose_length(corpus), int(np.median(sizes)) if len(sizes) else 0
    length = max(math.ceil(rare_length(corpus) / 2), min(n, math.ceil(usual / 2)))  # in 32 bits at least
    chosen = np.flatnonzero(sizes > length)
    if (usual > 8 * n and not corpus.is_own) or not len(chosen):
        return {"documents": 0, "continuing": 0, "length": length}
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), _SAMPLED)).astype(int)]
    documents = [held_out.tokens[starts[i] : held_out.ends[i] - 1] for i in chosen]
    bits = _bits_so_far(corpus, documents)
    anchors = [_first_telling(so_far, length) for so_far in bits]
    codes = _draw_codes(corpus)
    heads = np.concatenate([np.append(d[a : a + length], separator) for d, a in zip(documents, anchors, strict=True)])
    head_hashes, _ = _ngrams(heads, length, codes, separator)
    places: dict[int, list[int]] = {}
    for start in range(0, len(train.tokens), _CHUNK):
        hashes, inside = _ngrams(train.tokens[start : start + _CHUNK + length - 1], length, codes, separator)
        found = np.isin(hashes, head_hashes)
        for value, place in zip(hashes[found].tolist(), inside[found].tolist(), strict=True):
            if len(known := places.setdefault(value, [])) < _PLACES:
                known.append(start + place)
    continuing = 0
    for document, anchor, so_far, value in zip(documents, anchors, bits, head_hashes.tolist(), strict=True):
        agreed = (_agreement(document, train, place - anchor) for place in places.get(value, ()) if place >= anchor)
        continuing += any(length <= tokens and _is_telling(so_far[:tokens]) for tokens in agreed)
    return {"documents": len(chosen), "continuing": continuing, "length": length}


def measure_vocabulary(corpus: Corpus, side: str) -> dict[str, Any]:
    """Ids that ``side`` holds and training never shows.

    ``ids`` that occur on the side, ``unseen_ids`` those that training lacks, ``unseen_share`` their ratio;
    ``unseen_tokens_share`` of the side's tokens; ``used_share`` of the vocabulary, the separator aside, that occurs on
    any side.
    """
    size, names = corpus.vocab_size, corpus.manifest["sides"]
    counts = {name: np.bincount(corpus.side(name).tokens, minlength=size) for name in names}
    for of_side in counts.values():
        of_side[corpus.separator] = 0
    here, train = counts[side], counts["train"]
    unseen = (here > 0) & (train == 0)
    used = np.sum(list(counts.values()), axis=0) > 0
    return {
        "ids": int((here > 0).sum()),
        "unseen_ids": int(unseen.sum()),
        "unseen_share": float(unseen.sum() / max(1, (here > 0).sum())),
        "unseen_tokens_share": float(here[unseen].sum() / max(1, here.sum())),
        "used_share": float(used.sum() / (corpus.vocab_size - 1)),
    }


def _agreement(document: np.ndarray, train: Side, place: int) -> int:
    """In how many tokens the training document at ``place`` and ``document`` agree, up to the end of the shorter one.

    0 where they differ in one of them. Two documents that begin together are no windows of one text, unless the
    training document is the longer one.
    """
    owner = int(np.searchsorted(train.ends, place, side="right"))
    left = int(train.ends[owner]) - 1 - place
    begins = place == (int(train.ends[owner - 1]) if owner else 0)
    if begins and left <= len(document):
        return 0
    common = min(left, len(document))
    return common if bool((train.tokens[place : place + common] == document[:common]).all()) else 0


def _is_telling(so_far: np.ndarray) -> bool:
    """Whether tokens that hold so many bits, added up, are no accident: enough in all, and at both ends."""
    third = max(1, len(so_far) // 3)
    ends = so_far[third] - so_far[0], so_far[-1] - so_far[-1 - third]
    return bool(so_far[-1] >= TELLING_BITS and min(ends) >= THIRD_BITS)


def _first_telling(so_far: np.ndarray, length: int) -> int:
    """Where the first run of ``length`` tokens begins that is worth looking for: a blank beginning is everywhere."""
    n_runs = max(1, len(so_far) // 2 - length + 1)
    bits = so_far[length - 1 : length - 1 + n_runs] - so_far[:n_runs]
    return int(np.argmax(bits >= TELLING_BITS))


def _bits_so_far(corpus: Corpus, documents: list[np.ndarray]) -> list[np.ndarray]:
    """Bits that each document holds up to each token, the first one free: -log2 of p(b | a), added up.

    p(b | a) = (c(ab) + 64 p(b)) / (c(a) + 64), with the counts c of the training side: few counts say little.
    """
    tokens, size = corpus.train_tokens, corpus.vocab_size
    counts = np.bincount(tokens, minlength=size).astype(float) + 1
    pairs = [d[:-1].astype(np.int64) * size + d[1:] for d in documents]
    wanted = np.unique(np.concatenate(pairs))
    together = np.zeros(len(wanted))
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK + 1].astype(np.int64)
        keys, times = np.unique(chunk[:-1] * size + chunk[1:], return_counts=True)
        _, at, where = np.intersect1d(wanted, keys, assume_unique=True, return_indices=True)
        together[at] += times[where]
    bits = []
    for of in pairs:
        before, after = of // size, of % size
        p = (together[np.searchsorted(wanted, of)] + _PRIOR * counts[after] / counts.sum()) / (counts[before] + _PRIOR)
        bits.append(np.concatenate([[0.0], np.cumsum(-np.log2(p))]))
    return bits


def _sample(side: Side, indices: np.ndarray) -> np.ndarray:
    """Documents of a side, from those at ``indices``: 256, and fewer where they are long. Their order is random."""
    sizes = np.diff(side.ends, prepend=0)[indices]
    fitting = int(np.searchsorted(np.cumsum(sizes), _SAMPLED_TOKENS, side="right"))
    return indices[: min(_SAMPLED, max(2, fitting))]


def _runs_of(
    side: Side, chosen: np.ndarray, n: int, codes: np.ndarray, separator: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the runs of the ``chosen`` documents, and for each which of them it is in."""
    starts = np.concatenate([[0], side.ends[:-1]])
    sizes = (side.ends - starts)[chosen]
    tokens = np.concatenate([side.tokens[starts[i] : side.ends[i]] for i in chosen])
    hashes, places = _ngrams(tokens, n, codes, separator)
    return hashes, np.searchsorted(np.cumsum(sizes), places, side="right")


def _standing(
    wanted: np.ndarray, train: Side, names: np.ndarray, n: int, codes: np.ndarray, separator: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the sorted hashes ``wanted`` stand in which training documents, as pairs in the order of the hashes.

    ``names`` numbers the training documents; equal ones have one name.
    """
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(train.tokens), _CHUNK) if len(wanted) else ():
        hashes, places = _ngrams(train.tokens[start : start + _CHUNK + n - 1], n, codes, separator)
        at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        inside = wanted[at] == hashes
        owners = np.searchsorted(train.ends, places[inside] + start, side="right")
        found.append(np.unique(at[inside] * len(names) + names[owners]))
    pairs = np.unique(np.concatenate(found))
    return pairs // len(names), pairs % len(names)


def _compare_shares(shared: np.ndarray, owners: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """The mean of ``shared``, and three standard errors more of its difference to a mean over other documents.

    Documents are drawn, not passages: s^2 = sum of w_i^2 (r_i - mean)^2 / sum of w_i^2 for documents of w_i passages
    and shares r_i; the error is s * sqrt(1 / m + 1 / k) for m and k documents, (sum of w)^2 / sum of w^2 of each.
    """
    if not len(shared):
        return 0.0, 0.0
    sizes, others = np.bincount(owners).astype(float), np.bincount(others).astype(float)
    ratios = np.bincount(owners, weights=shared) / np.maximum(sizes, 1)
    mean = float(shared.mean())
    variance = float((sizes**2 * (ratios - mean) ** 2).sum() / (sizes**2).sum())
    error = sum((w**2).sum() / w.sum() ** 2 for w in (sizes, others) if w.sum())
    return mean, min(1.0, mean + 3 * math.sqrt(variance * error))


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... counts[0] numbers, then those from starts[1]."""
    until = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(starts - (until - counts), counts)


def _show(corpus: Corpus, tokens: np.ndarray, starts: np.ndarray, n: int) -> str | list[int] | None:
    """One of the runs that start at ``starts``: the middle one, as text where it can be decoded."""
    if not len(starts):
        return None
    run = tokens[starts[len(starts) // 2] :][:n].tolist()
    try:
        return corpus.decode(run)
    except DataError:
        return run


def _draw_codes(corpus: Corpus) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(13)).integers(0, 2**64, size=corpus.vocab_size, dtype=np.uint64)


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
