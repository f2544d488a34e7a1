"""Documents from files on this machine: the standard library, single files, folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from paribus.design.wording import nearest, suggest
from paribus.errors import DataError

STDLIB = "stdlib"
SUFFIXES = (".txt", ".md", ".rst", ".py", ".jsonl", ".parquet")
TABULAR = (".jsonl", ".parquet")
BLOCK_CHARS = 2_000

_LEFT_OUT = {"test", "tests", "idle_test", "encodings", "pydoc_data", "site-packages", "dist-packages"}
_UNREADABLE = {".json", ".csv", ".tsv", ".ndjson", ".gz", ".zst", ".bz2", ".xz", ".zip", ".arrow", ".bin", ".npy"}
_END_OF_TEXT = "<|endoftext|>"

Found = list[tuple[str, Path]]
"""Files to read: a name for messages and order, and the path."""


def find_stdlib() -> Found:
    """The ``.py`` files of the running Python's standard library.

    Left out: tests, ``encodings`` and ``pydoc_data`` (tables), and ``_sysconfigdata*``, which describes the machine.
    Raises DataError where the library is not on disk as files.
    """
    root = Path(sysconfig.get_paths()[STDLIB])
    found = [
        (name, path)
        for name, path in _walk(root, _LEFT_OUT)
        if path.suffix == ".py" and not path.name.startswith("_sysconfigdata")
    ]
    if not found:
        raise DataError(f"this Python keeps no source files of its standard library in {root}; name a path as source")
    return found


def find(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Found:
    """The file at ``path``, or the files below it whose suffix is in ``suffixes``, in order of path.

    Raises DataError where nothing is there, with the nearest name that is.
    """
    if path.is_file():
        if path.suffix in _UNREADABLE:
            raise DataError(f"{path.name} is no text: convert it to JSONL or Parquet, one document per row")
        return [(path.name, path)]
    if not path.is_dir():
        raise DataError(f"no corpus {str(path)!r}: {_nearest(path)}")
    files = list(_walk(path, set()))
    found = [(name, file) for name, file in files if file.suffix in suffixes]
    if not found:
        present = sorted({file.suffix or file.name for _, file in files})
        there = f"it holds {', '.join(present[:8])}" if present else "it is empty"
        raise DataError(f"folder {str(path)!r} has no file that ends in {', '.join(suffixes)}; {there}")
    return found


def fingerprint(found: Found) -> str:
    """SHA-256 over the names and bytes of the files."""
    digest = hashlib.sha256()
    for name, path in found:
        content = _bytes(name, path)
        digest.update(f"{len(name)}:{name}{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def read(found: Found, column: str) -> Iterator[tuple[str, str]]:
    """The documents of the files, as (name, text).

    A text file alone is split into blocks; a text file among others is one document.
    Raises DataError for a file that is not UTF-8, a broken line or a missing column.
    """
    alone = len(found) == 1
    for name, path in found:
        if path.suffix == ".jsonl":
            yield from _jsonl(name, path, column)
        elif path.suffix == ".parquet":
            yield from _parquet(name, path, column)
        elif alone:
            yield from ((f"{name}, block {i}", block) for i, block in enumerate(split_blocks(_text(name, path)), 1))
        else:
            yield name, _text(name, path)


def split_blocks(text: str) -> list[str]:
    """Cut one text into documents.

    At every line ``<|endoftext|>`` where there is one. Otherwise into blocks of whole paragraphs: a block ends at
    the first blank line after 2,000 characters. The blocks together are the text.
    """
    if _END_OF_TEXT in text:
        return [part.strip("\n") for part in text.split(_END_OF_TEXT)]
    blocks, start = [], 0
    for blank in re.finditer(r"\n[ \t\r]*\n\s*", text):
        if blank.end() - start >= BLOCK_CHARS:
            blocks.append(text[start : blank.end()])
            start = blank.end()
    return [*blocks, text[start:]]


def _walk(root: Path, left_out: set[str]) -> Iterator[tuple[str, Path]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in left_out and f != "__pycache__" and not f.startswith("."))
        for file in sorted(files):
            if not file.startswith("."):
                path = Path(folder, file)
                yield path.relative_to(root).as_posix(), path


def _nearest(path: Path) -> str:
    beside = nearest(path.name, sorted(os.listdir(path.parent))) if path.parent.is_dir() else None
    hint = str(path.parent / beside) if beside else nearest(path, [STDLIB])
    guess = f"did you mean {hint!r}? " if hint else ""
    if len(path.parts) == 2 and not path.is_absolute():
        guess += f"A data set of the Hugging Face hub is written 'hub:{path.as_posix()}'. "
    return f"{guess}The built-in corpus is {STDLIB!r}; else give a file, a folder or 'hub:owner/name'"


def _bytes(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}") from None


def _text(name: str, path: Path) -> str:
    content = _bytes(name, path)
    encoding = "utf-8-sig"
    if path.suffix == ".py":  # a source file may declare its encoding (PEP 263)
        lines = iter(content.splitlines(keepends=True))
        try:
            encoding, _ = tokenize.detect_encoding(lambda: next(lines, b""))
        except SyntaxError:
            encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not {error.encoding}: byte {content[error.start]:#04x} at position {error.start:,}; "
            "convert it, or leave it out of the folder"
        ) from None


def _jsonl(name: str, path: Path, column: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_bytes(name, path).split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            raise DataError(f"{place} is not UTF-8: byte {line[error.start]:#04x}") from None
        except json.JSONDecodeError as error:
            raise DataError(f"{place} is not JSON: {error.msg} at column {error.colno}") from None
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected an object with the key {column!r}, got {type(row).__name__}")
        if column not in row:
            raise DataError(f"{place} has no column {column!r}; {suggest(column, sorted(row))}")
        yield place, require_text(row[column], place, column)


def _parquet(name: str, path: Path, column: str) -> Iterator[tuple[str, str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{name}: Parquet needs pyarrow; install the extra paribus[parquet]") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            if column not in table.schema_arrow.names:
                raise DataError(f"{name} has no column {column!r}; {suggest(column, table.schema_arrow.names)}")
            number = 0
            for batch in table.iter_batches(columns=[column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield f"{name}, row {number}", require_text(value, f"{name}, row {number}", column)
    except pyarrow.ArrowException as error:
        raise DataError(f"{name} is not readable as Parquet: {error}") from None


def require_text(value: object, place: str, column: str) -> str:
    """``value`` if it is text, "" for None. Raises DataError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{place}: column {column!r} holds {type(value).__name__}, expected text")
    return value
