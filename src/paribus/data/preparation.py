"""From text, or a data set of tokens, to tokens on disk: prepared once, shared by all runs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

from paribus.data.corpus import OWN, Corpus
from paribus.data.own_dataset import Dataset, read_dataset
from paribus.data.split import SIDES, Split, split_documents
from paribus.data.text import Source, Text, open_source, read_documents
from paribus.data.tokenizer import Encoder
from paribus.design.digests import digest_json
from paribus.errors import DataError

FORMAT = 2

_MANIFEST = "manifest.json"
_CHUNK_CHARS = 2_000_000  # text encoded at a time: bounds memory


def prepare(source: Any) -> Corpus:
    """Bring ``source`` into the cache folder as tokens, or open what lies there.

    ``source`` is a Text, which is split and tokenized, or an instance of a class of the user's own whose documents are
    tokens (see ``datasets``).

    The cache is ``PARIBUS_HOME``, else the user's cache folder; each corpus is a folder named by what was
    asked for: the bytes of the source, the tokenizer and the split, or the tokens. It is written under another name
    and renamed when whole, under a lock, so processes may start at once and be killed at any
    moment. A folder that no longer matches its digests is made again, with a warning.

    The manifest says: ``digest`` (documents, tokenizer, split, tokens), ``title``, ``source``, ``tokenizer``, ``split``
    (fractions, exact and near duplicates), ``sides`` (documents, tokens, bytes and digest of each), ``dtype``,
    ``python``, and ``measured`` (seconds). Bytes are None where they are not known.

    Raises DataError for a source, tokenizer, split or document that cannot be used, and where the cache cannot be
    written.
    """
    if not isinstance(source, Text):
        dataset = read_dataset(source)
        request = {"format": FORMAT, "dataset": dataset.digest, "title": dataset.title}
        corpus = _prepare(request, lambda folder: _write_dataset(folder, dataset))
        corpus.decode_ids = dataset.decode
        return corpus
    opened = open_source(source)
    split = {name: getattr(source, name) for name in ("validation_fraction", "confirm_fraction", "near_duplicate")}
    request = {
        "format": FORMAT,
        "source": opened.identity,
        "tokenizer": source.tokenizer.identity(),
        "split": split,
        "max_train_tokens": source.max_train_tokens,
    }
    return _prepare(request, lambda folder: _write(folder, opened, source, request))


def _prepare(request: dict[str, Any], write: Callable[[Path], None]) -> Corpus:
    """Open the folder of ``request``, which ``write`` fills where it is not there or damaged."""
    folder = cache_folder() / "data" / digest_json(request)[:32]
    with _disk_errors(folder):
        if folder.is_dir() and not _damage(folder):
            return _open(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if folder.is_dir():
                damage = _damage(folder)
                if not damage:  # another process was first
                    return _open(folder)
                warnings.warn(f"cached corpus {folder} is damaged ({damage}); preparing it again", stacklevel=3)
            for left in folder.parent.glob(f"{folder.name}.new-*"):  # of a process that was killed
                shutil.rmtree(left)
            new = folder.with_name(f"{folder.name}.new-{os.getpid()}")
            try:
                write(new)
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(new, folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
        return _open(folder)


def cache_folder() -> Path:
    """``PARIBUS_HOME`` where it is set, else the user's cache folder of this platform."""
    if home := os.environ.get("PARIBUS_HOME"):
        return Path(home).expanduser()
    return Path(platformdirs.user_cache_dir("paribus"))


def _write(folder: Path, source: Source, text: Text, request: dict[str, Any]) -> None:
    began = time.perf_counter()
    texts = list(read_documents(source, text))
    if not texts:
        raise DataError(f"{source.title} holds no text")
    split = split_documents(texts, **request["split"])
    # Hash order: a side's first documents are a random choice, and files of one folder are not neighbours.
    sides = {side: [texts[index] for index in split.members(side)] for side in SIDES}
    encoder = text.tokenizer.fit(sides["train"])
    dtype = np.dtype("<u2") if encoder.vocab_size <= 2**16 else np.dtype("<u4")
    folder.mkdir()
    (folder / "tokenizer.json").write_text(encoder.to_json(), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "title": source.title,
        "source": {
            **source.identity,
            "documents": len(texts),
            "bytes": sum(len(document.encode()) for document in texts),
            "texts_sha256": _digest_texts(sides),
        },
        "tokenizer": {
            **request["tokenizer"],
            "vocab_size": encoder.vocab_size,
            "separator": encoder.separator,
            "sha256": hashlib.sha256(encoder.to_json().encode()).hexdigest(),
            "round_trip": _round_trip(encoder, sides["validation"]),
        },
        "split": {**request["split"], **_describe(split)},
        "sides": {
            side: _write_side(
                folder, side, documents, encoder, dtype, text.max_train_tokens if side == "train" else None
            )
            for side, documents in sides.items()
        },
        "dtype": dtype.str,
    }
    _finish(folder, manifest, began)


def _finish(folder: Path, manifest: dict[str, Any], began: float) -> None:
    manifest["digest"] = _digest_corpus(manifest)
    manifest["python"] = platform.python_version()
    manifest["measured"] = {"prepare_seconds": round(time.perf_counter() - began, 3)}
    _write_text(folder / _MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _write_dataset(folder: Path, dataset: Dataset) -> None:
    """The tokens of a data set of the user's own, in the same files."""
    began = time.perf_counter()
    dtype = np.dtype("<u2") if dataset.vocab_size <= 2**16 else np.dtype("<u4")
    folder.mkdir()
    encoder = json.dumps({"kind": OWN})
    (folder / "tokenizer.json").write_text(encoder, encoding="utf-8")
    documents = sum(map(len, dataset.sides.values()))
    manifest = {
        "format": FORMAT,
        "title": dataset.title,
        "source": {
            "kind": OWN,
            "class": dataset.reference,
            "documents": documents,
            "texts_sha256": dataset.digest,
        },
        "tokenizer": {
            "kind": OWN,
            "vocab_size": dataset.vocab_size,
            "separator": dataset.separator,
            "sha256": hashlib.sha256(encoder.encode()).hexdigest(),
        },
        "split": {"by": dataset.reference},
        "sides": {side: _write_dataset_side(folder, side, dataset, dtype) for side in dataset.sides},
        "dtype": dtype.str,
    }
    _finish(folder, manifest, began)


def _write_dataset_side(folder: Path, side: str, dataset: Dataset, dtype: np.dtype) -> dict[str, Any]:
    documents, separator = dataset.sides[side], np.array([dataset.separator])
    lengths = np.array([len(ids) + 1 for ids in documents])
    arrays = {
        "tokens": np.concatenate([part for ids in documents for part in (ids, separator)]).astype(dtype),
        "ends": np.cumsum(lengths).astype("<i8"),
    }
    n_bytes = None
    if dataset.n_bytes and side in dataset.n_bytes:
        nothing = np.array([0])
        arrays["bytes"] = np.concatenate([part for of in dataset.n_bytes[side] for part in (of, nothing)]).astype("<u4")
        n_bytes = int(arrays["bytes"].sum())
    for kind, array in arrays.items():
        (folder / f"{side}.{kind}").write_bytes(array.tobytes())
        _sync(folder / f"{side}.{kind}")
    return {
        "documents": len(documents),
        "tokens": int(lengths.sum()),
        "bytes": n_bytes,
        "files": {f"{side}.{kind}": _digest_file(folder / f"{side}.{kind}") for kind in arrays},
    }


def _write_side(
    folder: Path, side: str, documents: list[str], encoder: Encoder, dtype: np.dtype, max_tokens: int | None
) -> dict[str, Any]:
    """Write tokens and ends of a side, up to ``max_tokens``; of a held-out one also the bytes each token stands for."""
    held_out = side != "train"
    separator = np.array([encoder.separator])
    total, ends, n_bytes = 0, [], 0
    with contextlib.ExitStack() as stack:
        tokens_file = stack.enter_context(open(folder / f"{side}.tokens", "wb"))
        bytes_file = stack.enter_context(open(folder / f"{side}.bytes", "wb")) if held_out else None
        for chunk in _chunks(documents):
            sizes = [len(document.encode()) for document in chunk]
            if bytes_file:
                measured = encoder.measure(chunk)
                ids = [tokens for tokens, _ in measured]
                for (_, until), size in zip(measured, sizes, strict=True):
                    # The separator is given what the tokenizer dropped at the end, so the sum is the document's.
                    bytes_file.write(np.diff(until, prepend=0, append=size).astype("<u4").tobytes())
            else:
                ids = encoder.encode(chunk)
            for tokens, size in zip(ids, sizes, strict=True):
                if total == max_tokens:
                    break
                if max_tokens is not None and len(tokens) > (room := max_tokens - total - 1):
                    tokens = tokens[:room]
                    size = len(encoder.decode(tokens).encode())
                tokens_file.write(np.concatenate([tokens, separator]).astype(dtype).tobytes())
                total += len(tokens) + 1
                ends.append(total)
                n_bytes += size
            if total == max_tokens:
                break
    _sync(folder / f"{side}.tokens")
    (folder / f"{side}.ends").write_bytes(np.array(ends, dtype="<i8").tobytes())
    names = [f"{side}.{kind}" for kind in (("tokens", "ends", "bytes") if held_out else ("tokens", "ends"))]
    return {
        "documents": len(ends),
        "tokens": total,
        "bytes": n_bytes,
        "files": {name: _digest_file(folder / name) for name in names},
    }


def _round_trip(encoder: Encoder, documents: list[str]) -> float:
    """Share of ``documents`` that decoding gives back: below 1, the tokens do not hold all of the text."""
    tokens = encoder.encode(documents)
    return sum(encoder.decode(ids) == text for ids, text in zip(tokens, documents, strict=True)) / len(documents)


def _open(folder: Path) -> Corpus:
    return Corpus(folder, json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))


def _damage(folder: Path) -> str:
    """What is wrong with the corpus in ``folder``; "" where it is whole."""
    try:
        manifest = _open(folder).manifest
        expected = {name: digest for side in manifest["sides"].values() for name, digest in side["files"].items()}
        expected["tokenizer.json"] = manifest["tokenizer"]["sha256"]
        damaged = [name for name, digest in expected.items() if _digest_file(folder / name) != digest]
        if manifest["digest"] != _digest_corpus(manifest):
            damaged.append(_MANIFEST)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ", ".join(damaged)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends."""
    with FileLock(folder.with_name(f"{folder.name}.lock"), fallback_to_soft=False):  # a soft one outlives a process
        yield


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "no space is left on the disk of the cache"
        else:
            what = f"cannot use the cache: {error.strerror}"
        raise DataError(f"{what} {str(folder.parent)!r}; free some, or set PARIBUS_HOME to another folder") from error


def _describe(split: Split) -> dict[str, int]:
    groups, counts = np.unique(split.groups, return_counts=True)
    return {
        "groups": len(groups),
        "largest_group": int(counts.max()),
        "exact_duplicates": split.exact,
        "near_duplicates": split.near,
    }


def _chunks(documents: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document)
        if size >= _CHUNK_CHARS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _digest_corpus(manifest: dict[str, Any]) -> str:
    """Of everything that can change a batch or an evaluation; not of where the text was found."""
    return digest_json(
        {
            "format": manifest["format"],
            "texts": manifest["source"]["texts_sha256"],
            "tokenizer": manifest["tokenizer"]["sha256"],
            "split": manifest["split"],
            "sides": manifest["sides"],
            "dtype": manifest["dtype"],
        }
    )


def _digest_texts(sides: dict[str, list[str]]) -> str:
    digest = hashlib.sha256()
    for document in (document for documents in sides.values() for document in documents):
        content = document.encode()
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()


def _digest_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
