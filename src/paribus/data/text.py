"""Text corpora: where documents come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.data import hub
from paribus.data import text_files as files
from paribus.data.tokenizer import BPE
from paribus.design.specs import Spec, spec
from paribus.errors import DataError

DEFAULT_TOKENIZER = spec(BPE, vocab_size=1024)

HUB_DOCUMENTS = 10_000


@dataclass(frozen=True)
class Text:
    """A corpus of text documents, its tokenizer and its split.

    Args:
        source: where the documents come from.
            ``"stdlib"``: the Python standard library's own ``.py`` files, one document per file, without
            tests, encodings and pydoc topics; called "Python source code". Its bytes differ between
            Python versions.
            A ``.jsonl`` file: one document per line. A ``.parquet`` file: one per row. Any other file: blocks of
            whole paragraphs (see ``files.split_blocks``).
            A folder: every file whose suffix is in ``suffixes``, recursively, in order of path; one document
            per text file, per line of JSONL, per row of Parquet. Names that start with a dot are skipped; a
            text file that is the only file is cut into blocks.
            ``"hub:owner/name"``: a Hugging Face data set, streamed.
        tokenizer: spec of ``BPE`` (the default, 1,024 tokens), ``Bytes`` or ``Pretrained``.
        column: where the text is, in JSONL, Parquet and hub rows.
        validation_fraction, confirm_fraction: share of the text held out to score runs, and held back for
            confirmation; never trained on. See ``split.split_documents``.
        near_duplicate: Jaccard similarity from which two documents are near duplicates and stay on one side.
        max_documents, max_document_chars: read at most so many documents, and so many characters of each. None:
            all, but 10,000 documents of a hub source, which may be endless.
        max_train_tokens: keep so many training tokens, whole documents in a random order, the last one cut short.
            None: all.
        suffixes: which files of a folder are read.
        hub_config, hub_split, hub_revision: of a hub data set.

    Raises DataError for values that make no sense.
    """

    source: str = "stdlib"
    tokenizer: Any = DEFAULT_TOKENIZER
    column: str = "text"
    validation_fraction: float = 0.1
    confirm_fraction: float = 0.1
    near_duplicate: float = 0.5
    max_documents: int | None = None
    max_document_chars: int | None = None
    max_train_tokens: int | None = None
    suffixes: tuple[str, ...] = files.SUFFIXES
    hub_config: str | None = None
    hub_split: str = "train"
    hub_revision: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source:
            raise DataError(f"Text: source is 'stdlib', a path or 'hub:owner/name', got {self.source!r}")
        if isinstance(self.tokenizer, Spec):
            object.__setattr__(self, "tokenizer", self.tokenizer.cls(**dict(self.tokenizer.arguments)))
        if not all(hasattr(self.tokenizer, name) for name in ("identity", "fit")):
            raise DataError(f"Text: tokenizer is a spec of BPE, Bytes or Pretrained, got {self.tokenizer!r}")
        for name in ("validation_fraction", "confirm_fraction", "near_duplicate"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise DataError(f"Text: {name} must be a number, got {value!r}")
        if self.validation_fraction <= 0 or self.confirm_fraction < 0:
            raise DataError("Text: validation_fraction must be positive and confirm_fraction not negative")
        if self.validation_fraction + self.confirm_fraction > 0.9:
            raise DataError(
                f"Text: validation_fraction {self.validation_fraction} and confirm_fraction {self.confirm_fraction} "
                "leave less than a tenth for training"
            )
        if not 0 < self.near_duplicate <= 1:
            raise DataError(f"Text: near_duplicate is a similarity above 0 and up to 1, got {self.near_duplicate}")
        for name in ("max_documents", "max_document_chars", "max_train_tokens"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise DataError(f"Text: {name} must be a whole number of at least 1 or None, got {value!r}")
        if self.source.startswith(hub.PREFIX) and self.max_documents is None:
            object.__setattr__(self, "max_documents", HUB_DOCUMENTS)


@dataclass(frozen=True)
class Source:
    """An opened source.

    Args:
        title: what reports call it.
        identity: what decides the documents, as plain values: digests of files, or a hub name and its arguments.
        read: makes an iterator over the documents, as (name, text).
    """

    title: str
    identity: dict[str, Any]
    read: Callable[[], Iterator[tuple[str, str]]]


def open_source(text: Text) -> Source:
    """Find the source of ``text`` and take its identity; no document is parsed yet.

    Raises DataError for a source that does not exist or cannot be read.
    """
    limits = {"max_documents": text.max_documents, "max_document_chars": text.max_document_chars}
    if text.source.startswith(hub.PREFIX):
        name = text.source.removeprefix(hub.PREFIX)
        arguments: dict[str, Any] = {"config": text.hub_config, "split": text.hub_split, "revision": text.hub_revision}
        identity = {"kind": "hub", "name": name, "column": text.column, **arguments, **limits}
        return Source(text.source, identity, lambda: hub.stream(name, column=text.column, **arguments))
    if text.source == files.STDLIB:
        found, title = files.find_stdlib(), "Python source code"
    else:
        path = Path(text.source).expanduser()
        found, title = files.find(path, tuple(text.suffixes)), path.name
    identity = {"kind": "files", "sha256": files.fingerprint(found), **limits}
    if any(file.suffix in files.TABULAR for _, file in found):
        identity["column"] = text.column
    return Source(title, identity, lambda: files.read(found, text.column))


def read_documents(source: Source, text: Text) -> Iterator[str]:
    """The texts of ``source`` within the limits of ``text``, without those that are only white space.

    Raises DataError for a text that is no valid Unicode.
    """
    count = 0
    for name, document in source.read():
        if not document.strip():
            continue
        if text.max_documents is not None and count == text.max_documents:
            return
        document = document[: text.max_document_chars]
        try:
            document.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{name}: character {error.start} is half of a surrogate pair, not text") from None
        count += 1
        yield document
