"""A data set of the user's own class: documents that are token ids already, on sides that the class decides.

The class has

* ``vocab_size: int``: ids are 0 to vocab_size - 1;
* ``documents(side)``: the documents of "train" or "validation", 1-D arrays or lists of at least two whole numbers,
  the same ones every time;

and may have

* ``decode(ids) -> str``: the text of a list of ids, of which bytes are counted; without it no bits per byte;
* ``sides``: ("train", "validation", "confirm") where ``documents`` also knows documents held back for ``--confirm``;
* ``separator: int``: the id that ends a document, one that no document holds; without it one id is added for that.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from paribus.data.split import FEWEST_DOCUMENTS, SIDES
from paribus.design.specs import reference
from paribus.design.wording import nearest
from paribus.errors import DataError

_OFFERED = SIDES[:2]
_LIKELY = {
    "documents": ("docs", "sequences", "samples", "examples", "get_documents"),
    "vocab_size": ("n_vocab", "vocab", "vocabulary_size"),
}


@dataclass(frozen=True)
class Dataset:
    """What a user's data set holds.

    Args:
        title: the name of its class.
        reference: where the class is, as specs name it.
        vocab_size: the separator included.
        separator: the id that ends a document.
        sides: documents by side, (n,) int64 each, in the order of their hashes.
        n_bytes: of each held-out side, per document the bytes of text each id stands for; None without ``decode``.
        decode: ids to text, where the class can.
        digest: SHA-256 over all of the above but names.
    """

    title: str
    reference: str
    vocab_size: int
    separator: int
    sides: dict[str, list[np.ndarray]]
    n_bytes: dict[str, list[np.ndarray]] | None
    decode: Callable[[list[int]], str] | None
    digest: str


def read_dataset(source: Any) -> Dataset:
    """Read every document of ``source`` and look at each.

    Every document is asked for twice, and the second reading compared by digest: reading takes the time of two calls of
    ``documents`` a side, and 32 bytes of memory a document.

    Raises DataError for a class without the contract above, ids outside the vocabulary, arrays that are not 1-D or not
    whole numbers, documents of fewer than 2 tokens, sides of fewer than 2 documents, and documents that change.
    """
    title = type(source).__name__
    given = _require_size(title, source)
    own = getattr(source, "separator", None)
    if own is not None and (not _is_whole(own) or not 0 <= own < given):
        raise DataError(f"{title}: separator must be an id from 0 to {given - 1}, got {own!r}")
    vocab_size, separator = (given + 1, given) if own is None else (given, int(own))
    sides = {}
    for side in _require_sides(title, source):
        sides[side] = [_require_document(title, side, i, ids, given, own) for i, ids in enumerate(_ask(source, side))]
        needed = 1 if side == "train" else FEWEST_DOCUMENTS
        if len(sides[side]) < needed:
            raise DataError(f"{title}.documents({side!r}) has {len(sides[side])} documents, expected at least {needed}")
    for side, documents in sides.items():
        _require_steady(source, side, documents)
    if "confirm" in sides and set(map(_key, sides["confirm"])) <= set(map(_key, sides["validation"])):
        raise DataError(
            f"{title}: all documents of 'confirm' are documents of 'validation' too; "
            "what confirms a verdict must be other documents"
        )
    # Hash order: the documents that are scored first are a random choice.
    sides = {side: sorted(documents, key=_key) for side, documents in sides.items()}
    decode = getattr(source, "decode", None)
    n_bytes = None
    if callable(decode):
        n_bytes = {side: _measure(title, decode, documents) for side, documents in sides.items() if side != "train"}
    return Dataset(
        title=title,
        reference=reference(type(source)),
        vocab_size=vocab_size,
        separator=separator,
        sides=sides,
        n_bytes=n_bytes,
        decode=decode if callable(decode) else None,
        digest=_digest(vocab_size, separator, sides, n_bytes),
    )


def _require_size(title: str, source: Any) -> int:
    for name in ("vocab_size", "documents"):
        if not hasattr(source, name):
            public = [other for other in dir(source) if not other.startswith("_")]
            close = next((other for other in _LIKELY[name] if other in public), None) or nearest(name, public)
            hint = f"it has {', '.join(public) or 'nothing public'}"
            if close:
                hint = f"it has {close!r}: call that {name!r} if it is meant"
            raise DataError(
                f"{title} has no {name!r}, and the data of a study are a spec of Text or of a class with vocab_size "
                f"and documents(side); {hint}"
            )
    if not callable(source.documents):
        raise DataError(f"{title}.documents must be a method that takes a side, got {source.documents!r}")
    if not _is_whole(source.vocab_size) or source.vocab_size < 2:
        raise DataError(f"{title}.vocab_size must be a whole number of at least 2, got {source.vocab_size!r}")
    return int(source.vocab_size)


def _require_sides(title: str, source: Any) -> tuple[str, ...]:
    sides = getattr(source, "sides", _OFFERED)
    if not isinstance(sides, tuple | list) or sorted(sides) not in (sorted(SIDES), sorted(_OFFERED)):
        raise DataError(f"{title}.sides must be {_OFFERED} or {SIDES}, got {sides!r}")
    return tuple(side for side in SIDES if side in sides)


def _ask(source: Any, side: str) -> list[Any]:
    """What the class gives for ``side``. Whatever it raises is a DataError with the line that raised it."""
    title = type(source).__name__
    try:
        documents = source.documents(side)
        if _is_list(documents):
            return list(documents)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"line {frame.lineno} of {frame.name}"
        raise DataError(f"{title}.documents({side!r}) fails in {where}: {type(error).__name__}: {error}") from error
    raise DataError(
        f"{title}.documents({side!r}) returns {_show(documents)}, expected a list or a generator of documents; "
        "is a `return` or `yield` missing?"
    )


def _require_document(title: str, side: str, index: int, ids: Any, size: int, separator: int | None) -> np.ndarray:
    where = f"document {index} of {title}.documents({side!r})"
    if isinstance(ids, str | bytes):
        raise DataError(f"{where} is {_show(ids)}, expected token ids; paribus.data.Text reads text")
    if not _is_list(ids):
        raise DataError(f"{where} is {_show(ids)}, expected a list or an array of token ids")
    try:
        array = np.asarray(ids)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is no array: {error}") from None
    if array.ndim != 1:
        raise DataError(f"{where} has shape {array.shape}, expected one dimension: give each row as its own document")
    if len(array) < 2:
        raise DataError(f"{where} has {len(array)} tokens, expected at least 2: there is nothing to predict")
    if array.dtype.kind not in "iu":
        raise DataError(f"{where} holds {array.dtype}, expected whole numbers: ids, not values or text")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise DataError(f"{where} holds the id {wrong}, expected 0 to {size - 1}: vocab_size is {size}")
    array = array.astype(np.int64)
    if separator is not None and bool((array == separator).any()):
        raise DataError(
            f"{where} holds the separator {separator} itself; leave it out, as one is put after every document"
        )
    return array


def _require_steady(source: Any, side: str, documents: list[np.ndarray]) -> None:
    """Workers read the documents for themselves: what is drawn anew each time would be other data in each."""
    title = type(source).__name__
    keys, again = list(map(_key, documents)), list(_keys_again(source, side))
    if again == keys:
        return
    # Of two readings of unequal length where one begins the other, the first that one lacks.
    first = next((i for i, pair in enumerate(zip(keys, again, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        first = min(len(keys), len(again))
        what = f"{len(again)} documents, {len(keys)} the first time; document {first} is the first that one call lacks"
    else:
        what = f"document {first} is the first that differs"
    raise DataError(
        f"{title}.documents({side!r}) gives other documents the second time it is called: {what}. Every worker calls "
        "it anew: seed the generator inside documents(), and return a list or a new generator"
    )


def _keys_again(source: Any, side: str) -> Iterator[bytes]:
    """The digests of a second reading, one document in memory at a time; b"" for what is no list of whole numbers."""
    title = type(source).__name__
    try:
        for ids in source.documents(side):
            array = np.asarray(ids)
            yield _key(array.astype(np.int64)) if array.ndim == 1 and array.dtype.kind in "iu" else b""
    except Exception as error:
        raise DataError(
            f"{title}.documents({side!r}) fails the second time it is called: {type(error).__name__}: {error}"
        ) from error


def _measure(title: str, decode: Callable[[list[int]], str], documents: list[np.ndarray]) -> list[np.ndarray]:
    """Bytes of text each id stands for. They add up to the document's, and are exact where ids are decoded alone.

    Where they are not, as with spaces between words, each id gets its share of the document's bytes.
    """
    alone: dict[int, int] = {}
    measured = []
    for document in documents:
        ids = document.tolist()
        total = _count_bytes(title, decode, ids)
        for token in ids:
            if token not in alone:
                alone[token] = _count_bytes(title, decode, [token])
        until = np.cumsum([alone[token] for token in ids])
        if until[-1] != total:
            until = np.round(until * (total / until[-1])) if until[-1] else np.linspace(0, total, len(ids)).round()
        measured.append(np.diff(until.astype(np.int64), prepend=0))
    return measured


def _count_bytes(title: str, decode: Callable[[list[int]], str], ids: list[int]) -> int:
    try:
        text = decode(ids)
    except Exception as error:
        raise DataError(f"{title}.decode fails on {len(ids)} ids: {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise DataError(f"{title}.decode must return the text as a str, got a {type(text).__name__}")
    return len(text.encode(errors="replace"))


def _key(document: np.ndarray) -> bytes:
    return hashlib.sha256(b"paribus data set 1" + document.astype("<i8").tobytes()).digest()


def _digest(vocab_size: int, separator: int, sides: dict[str, list[np.ndarray]], n_bytes: Any) -> str:
    digest = hashlib.sha256(f"{vocab_size}:{separator}".encode())
    for kind in (sides, n_bytes or {}):
        for side, arrays in kind.items():
            digest.update(f"{side}:{len(arrays)}".encode())
            for array in arrays:
                digest.update(f"{len(array)}:".encode() + array.astype("<i8").tobytes())
    return digest.hexdigest()


def _is_list(value: Any) -> bool:
    """Whether it can be gone through, other than a text by its letters."""
    return (hasattr(value, "__iter__") or hasattr(value, "__getitem__")) and not isinstance(value, str | bytes)


def _show(value: Any) -> str:
    return "None" if value is None else f"the {type(value).__name__} {repr(value)[:30]}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
