"""Held-out documents that are training documents with their whitespace collapsed, as another dump of them would be."""

import email
from pathlib import Path

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Cleaned:
    vocab_size = 256

    def __init__(self):
        texts = [path.read_text() for path in sorted(Path(email.__file__).parent.glob("*.py"))]
        self.of_side = {"train": texts, "validation": [" ".join(text.split()) for text in texts[::4]]}

    def documents(self, side):
        return [list(text.encode()) for text in self.of_side[side] if len(text) > 1]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


study = make_study(BASELINE.replace("*norm", pb.spec(nn.RMSNorm)), data=pb.spec(Cleaned))
CAUGHT = {"check": "train/validation overlap", "severity": "invalid"}
