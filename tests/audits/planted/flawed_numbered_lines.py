"""Held-out text that stands in training in capitals, with a number in front of every line."""

import email
from pathlib import Path

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Listing:
    """The modules of a package; the held-out ones come from a printed listing of it."""

    vocab_size = 256

    def __init__(self):
        texts = [path.read_text() for path in sorted(Path(email.__file__).parent.glob("*.py"))]
        printed = [
            "\n".join(f"{number:4d} {line.upper()}" for number, line in enumerate(text.splitlines(), 1))
            for text in texts[::4]
        ]
        self.of_side = {"train": texts, "validation": printed}

    def documents(self, side):
        return [list(text.encode()) for text in self.of_side[side] if len(text) > 1]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


study = make_study(BASELINE.replace("*norm", pb.spec(nn.RMSNorm)), data=pb.spec(Listing))
CAUGHT = {"check": "train/validation overlap", "severity": "invalid"}
