"""A prepared corpus: tokens on disk, and the batches and held-out windows drawn from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from paribus.data.held_out import HeldOut, Side, choose_windows
from paribus.data.tokenizer import Encoder, load_encoder
from paribus.design.streams import derive
from paribus.errors import DataError

OWN = "dataset"
"""Kind of tokenizer in the manifest of a data set of the user's own."""

_KEPT_EPOCHS = 4


class Corpus:
    """Tokens of a corpus, memory-mapped, ready for batches; made by ``prepare``.

    ``manifest`` is everything a record should say about the data (see ``prepare``); ``separator`` is the id of the
    token that ends a document; ``digest``
    covers the documents, the tokenizer, the split and the tokens: runs of different digests are never paired.
    ``decode_ids`` is what a data set of the user's own makes text with, None where it cannot.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.manifest = manifest
        self.digest: str = manifest["digest"]
        self.title: str = manifest["title"]
        self.vocab_size: int = manifest["tokenizer"]["vocab_size"]
        self.separator: int = manifest["tokenizer"]["separator"]
        self.decode_ids: Callable[[list[int]], str] | None = None
        self._epochs: OrderedDict[tuple[int, int, int], tuple[int, np.ndarray]] = OrderedDict()

    @cached_property
    def train_tokens(self) -> np.ndarray:
        """All training tokens, each document followed by a separator; (N,) uint16 or uint32, read-only."""
        return self._tokens("train")

    @cached_property
    def encoder(self) -> Encoder:
        """Text to ids and back. Raises DataError for a data set of the user's own, which has none."""
        if self.is_own:
            raise DataError(f"{self.title} has no encoder: its documents are tokens already")
        separator = self.manifest["tokenizer"].get("separator_token")
        return load_encoder((self.folder / "tokenizer.json").read_text(encoding="utf-8"), separator)

    @property
    def is_own(self) -> bool:
        """Whether it was made from a data set of the user's own."""
        return self.manifest["tokenizer"].get("kind") == OWN

    def batch(self, seed: int, step: int, batch_tokens: int, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of an optimizer step: (B, T) int64 each, with B = batch_tokens / seq_len.

        A pure function of its arguments. An epoch cuts the training tokens into windows of T + 1 that
        share one token with the next, from an offset of its own, and visits each window once in an order of its
        own; both come from (seed, epoch). So every token but up to 2 T at the ends is a target once an epoch.

        Raises DataError where batch_tokens is no multiple of seq_len or the corpus is too short for a window.
        """
        if seq_len < 1 or batch_tokens < 1 or batch_tokens % seq_len:
            raise DataError(f"batch_tokens must be a positive multiple of seq_len {seq_len}, got {batch_tokens}")
        n_windows = self.n_windows(seq_len)
        rows = batch_tokens // seq_len
        starts = np.empty(rows, dtype=np.int64)
        row, position = 0, step * rows
        while row < rows:  # a batch may run into the next epoch
            epoch, place = divmod(position, n_windows)
            offset, order = self._epoch(seed, epoch, seq_len)
            taken = order[place : place + rows - row]
            starts[row : row + len(taken)] = offset + taken * seq_len
            row, position = row + len(taken), position + len(taken)
        windows = self.train_tokens[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)  # (B, T + 1)
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])

    def n_windows(self, seq_len: int) -> int:
        """Training windows of ``seq_len`` targets in an epoch. Raises DataError where there is none."""
        n_tokens = self.manifest["sides"]["train"]["tokens"]
        if n_tokens < 2 * seq_len:
            raise DataError(
                f"{self.title}: {n_tokens:,} training tokens are too few for windows of seq_len {seq_len}; "
                f"expected at least {2 * seq_len:,}"
            )
        return (n_tokens - seq_len) // seq_len

    def evaluation(self, seq_len: int, max_tokens: int, side: str = "validation") -> HeldOut:
        """The windows of "validation" or "confirm" that every run scores; see ``choose_windows``.

        Raises DataError for another side, one without documents, or a ``max_tokens`` below two windows.
        """
        return choose_windows(self.side(side), seq_len, max_tokens, self.separator)

    def side(self, name: str) -> Side:
        """Tokens and document ends of "train", "validation" or "confirm"."""
        if name not in self.manifest["sides"]:
            hint = f'; give it by sides = ("train", "validation", "{name}") and documents("{name}")'
            raise DataError(
                f"{self.title} has no side {name!r}; there is {', '.join(self.manifest['sides'])}"
                f"{hint if self.is_own and name == 'confirm' else ''}"
            )
        has_bytes = f"{name}.bytes" in self.manifest["sides"][name].get("files", ())
        n_bytes = self._array(f"{name}.bytes", np.uint32) if has_bytes else None
        return Side(name, self._tokens(name), self._array(f"{name}.ends", np.int64), n_bytes)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; separators become empty lines. Raises DataError where nothing can be decoded."""
        if not self.is_own:
            return self.encoder.decode(int(token) for token in ids)
        if self.decode_ids is None:
            raise DataError(f"{self.title} has no decode(ids) that makes text of its tokens")
        documents: list[list[int]] = [[]]
        for token in ids:
            if token == self.separator:
                documents.append([])
            else:
                documents[-1].append(int(token))
        return "\n\n".join(self.decode_ids(document) if document else "" for document in documents)

    def _epoch(self, seed: int, epoch: int, seq_len: int) -> tuple[int, np.ndarray]:
        key = (seed, epoch, seq_len)
        if key not in self._epochs:
            offset = derive(seed, "data", "offset", epoch) % seq_len
            rng = np.random.Generator(np.random.PCG64(derive(seed, "data", "order", epoch)))
            self._epochs[key] = offset, rng.permutation(self.n_windows(seq_len))
            while len(self._epochs) > _KEPT_EPOCHS:
                self._epochs.popitem(last=False)
        return self._epochs[key]

    def _tokens(self, side: str) -> np.ndarray:
        return self._array(f"{side}.tokens", np.dtype(self.manifest["dtype"]))

    def _array(self, name: str, dtype: Any) -> np.ndarray:
        path = self.folder / name
        if path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=dtype)
        return np.memmap(path, dtype=dtype, mode="r")
