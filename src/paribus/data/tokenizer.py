"""Tokenizers: bytes, byte-level BPE trained on the training documents, and ready-made ones.

A *tokenizer* is what a study names; ``fit`` turns it into an *encoder*, which maps text to ids.
Every encoder has a separator, the id that ends a document: one more id after the last, or a special token of a
ready-made tokenizer. No text can ever contain it: a special token spelled out in a text is encoded as plain text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from paribus.data import hub
from paribus.errors import DataError

SMALLEST_BPE = 257  # every byte and the separator


class Encoder(Protocol):
    """Text to token ids and back. ``vocab_size`` counts the ``separator``, the id that ends a document."""

    vocab_size: int
    separator: int

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, without the separator."""

    def measure(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Token ids of each text, and the bytes of text up to the end of each token, as counts from zero."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; separators become empty lines."""

    def to_json(self) -> str:
        """What ``load_encoder`` needs to make the same encoder again."""


@dataclass(frozen=True)
class Bytes:
    """One token per byte of UTF-8: V = 256 and the separator."""

    def identity(self) -> dict[str, Any]:
        """What decides the tokens, as plain values."""
        return {"kind": "bytes"}

    def fit(self, texts: Sequence[str]) -> Encoder:
        """The encoder; ``texts`` do not matter."""
        return ByteEncoder()


@dataclass(frozen=True)
class BPE:
    """Byte-level byte-pair encoding, trained on the training documents only.

    Words are split as in GPT-2 before pairs are merged; no text is normalised, so decoding gives it back.
    Source: Sennrich, Haddow, Birch 2016, arXiv 1508.07909; Radford et al. 2019 (GPT-2) for bytes as alphabet.

    Args:
        vocab_size: tokens in all: 256 bytes, the merges and the separator.
    """

    vocab_size: int = 1024

    def __post_init__(self) -> None:
        if not isinstance(self.vocab_size, int) or isinstance(self.vocab_size, bool) or self.vocab_size < SMALLEST_BPE:
            raise DataError(
                f"BPE: vocab_size must be a whole number of at least {SMALLEST_BPE} (256 bytes and the separator), "
                f"got {self.vocab_size!r}"
            )

    def identity(self) -> dict[str, Any]:
        """What decides the tokens, as plain values; another trainer version may merge otherwise."""
        return {"kind": "bpe", "vocab_size": self.vocab_size, "tokenizers": tokenizers.__version__}

    def fit(self, texts: Sequence[str]) -> Encoder:
        """Train on ``texts``. Raises DataError where they hold too few pairs for ``vocab_size``."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer, length=len(texts))
        encoder = TokenizerEncoder(tokenizer)
        if encoder.vocab_size != self.vocab_size:
            raise DataError(
                f"BPE: the {len(texts):,} training documents ({sum(map(len, texts)):,} characters) hold pairs for "
                f"{encoder.vocab_size:,} tokens, not for vocab_size={self.vocab_size:,}; "
                f"ask for {encoder.vocab_size:,} or fewer, or use Bytes"
            )
        return encoder


@dataclass(frozen=True)
class Pretrained:
    """A ready-made tokenizer: a ``tokenizer.json`` on disk, or ``owner/name`` on the Hugging Face hub.

    Args:
        name: path of a file that ends in ``.json``, or the hub's name.
        revision: branch, tag or commit on the hub.
        separator: the token of its vocabulary that ends a document, such as "<|endoftext|>". None: an id of its own
            is added for that.
        vocab_size: tokens in all, where a study has to know before the tokenizer is read; checked against it.
    """

    name: str
    revision: str = "main"
    separator: str | None = None
    vocab_size: int | None = None

    @property
    def is_file(self) -> bool:
        """Whether it lies on disk; otherwise it is fetched from the hub."""
        return self.name.endswith(".json")

    def identity(self) -> dict[str, Any]:
        """What decides the tokens: a file's digest, or name and revision. Raises DataError without the file."""
        if not self.is_file:
            where = {"name": self.name, "revision": self.revision}
        else:
            where = {"sha256": hashlib.sha256(self._read()).hexdigest()}
        return {"kind": "pretrained", **where, "separator_token": self.separator}

    def fit(self, texts: Sequence[str]) -> Encoder:
        """Load it; ``texts`` do not matter.

        Raises DataError where it cannot be found or read, lacks the separator or has another ``vocab_size``.
        """
        encoder = TokenizerEncoder(self._load(), self.separator)
        if self.vocab_size not in (None, encoder.vocab_size):
            raise DataError(f"{self.name} has {encoder.vocab_size:,} tokens, vocab_size says {self.vocab_size:,}")
        return encoder

    def _load(self) -> Tokenizer:
        if not self.is_file:
            return hub.fetch_tokenizer(self.name, self.revision)
        try:
            return Tokenizer.from_str(self._read().decode())
        except Exception as error:  # the Rust side raises bare Exception
            raise DataError(f"{self.name} is no tokenizer.json of the tokenizers package: {error}") from None

    def _read(self) -> bytes:
        try:
            return Path(self.name).expanduser().read_bytes()
        except OSError as error:
            raise DataError(f"tokenizer {self.name!r}: {error.strerror}; a name without .json is a hub name") from None


class ByteEncoder:
    """Ids are the bytes of UTF-8; 256 is the separator."""

    vocab_size = 257
    separator = 256

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]

    def measure(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(ids, np.arange(1, len(ids) + 1)) for ids in self.encode(texts)]

    def decode(self, ids: Iterable[int]) -> str:
        parts = b"".join(b"\n\n" if token == 256 else bytes([token]) for token in ids)
        return parts.decode(errors="replace")

    def to_json(self) -> str:
        return '{"kind": "bytes"}'


class TokenizerEncoder:
    """A tokenizer of the ``tokenizers`` package; the separator is a token it has, else one id after its last.

    Raises DataError for a ``separator`` that is no special token of it: a text could contain it.
    """

    def __init__(self, tokenizer: Tokenizer, separator: str | None = None):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # a special token spelled out in a text is text
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        n_tokens = max(vocabulary.values(), default=-1) + 1
        if separator is None:
            self.vocab_size, self.separator = n_tokens + 1, n_tokens
        else:
            special = {str(t): i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}
            if separator not in special:
                hint = f"it has {', '.join(map(repr, special))}" if special else "it has none"
                raise DataError(f"separator {separator!r} is no special token of the tokenizer; {hint}")
            self.vocab_size, self.separator = n_tokens, special[separator]

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        batch = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in batch]

    def measure(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        batch = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            (np.array(encoding.ids, dtype=np.int64), _bytes_until(text, encoding.offsets))
            for text, encoding in zip(texts, batch, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        documents: list[list[int]] = [[]]
        for token in ids:
            if token == self.separator:
                documents.append([])
            else:
                documents[-1].append(int(token))
        return "\n\n".join(self.tokenizer.decode(document, skip_special_tokens=False) for document in documents)

    def to_json(self) -> str:
        return self.tokenizer.to_str()


def load_encoder(text: str, separator: str | None = None) -> Encoder:
    """The encoder that wrote ``text`` with ``to_json``; ``separator`` as it was given to ``Pretrained``."""
    if text == ByteEncoder().to_json():
        return ByteEncoder()
    return TokenizerEncoder(Tokenizer.from_str(text), separator)


def _bytes_until(text: str, offsets: list[tuple[int, int]]) -> np.ndarray:
    """Bytes of UTF-8 before the end of each token; offsets count characters.

    Tokens that share a character each report the whole of it: the first is given its bytes. What the
    tokenizer drops before a token is counted with that token, so the counts never fall.
    """
    ends = np.array([end for _, end in offsets], dtype=np.int64)
    if not text.isascii():
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        lengths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
        ends = np.concatenate([[0], np.cumsum(lengths)])[ends]
    return np.maximum.accumulate(ends) if len(ends) else ends
