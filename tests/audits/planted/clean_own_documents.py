"""A data set of bytes that is split by document."""

import html
from pathlib import Path

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Files:
    """Every third file is held out."""

    vocab_size = 256

    def __init__(self, folder: str = "email", length: int = 4000):
        files = sorted((Path(html.__file__).parents[1] / folder).glob("*.py"))
        texts = [np.frombuffer(file.read_bytes()[:length], dtype=np.uint8) for file in files]
        self.texts = [text for text in texts if len(text) > 100]

    def documents(self, side: str):
        return [text for i, text in enumerate(self.texts) if (i % 3 == 0) == (side == "validation")]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Files), metric=pb.VAL_BITS_PER_BYTE
)
