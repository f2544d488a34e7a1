"""Tokens of a large ready-made vocabulary, stored as numbers: some scored ids never occur in training."""

import html
import re
import zlib
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class StoredTokens:
    """Ids of words in a vocabulary that was fixed long before; a hash stands in for it here."""

    vocab_size = 8_000
    separator = 0

    def __init__(self):
        self.files = sorted((Path(html.__file__).parents[1] / "email").glob("*.py"))

    def documents(self, side: str):
        for i, file in enumerate(self.files):
            words = re.findall(r"[a-z]+|[^\sa-z]", file.read_text().lower())
            if len(words) > 200 and (i % 5 == 2) == (side == "validation"):
                yield [1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in words]


small = BASELINE.replace("d_model", 16)
study = make_study(small.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), small, data=pb.spec(StoredTokens))
