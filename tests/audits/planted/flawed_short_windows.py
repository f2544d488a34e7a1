"""Windows of 32 bytes at a stride of 12, shorter than any passage that is looked for, split at random. (Origin 1.)"""

import html
import random
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class ShortWindows:
    vocab_size = 256

    def __init__(self, size: int = 32, stride: int = 12):
        text = (Path(html.__file__).parents[1] / "email" / "header.py").read_bytes()[:18_000]
        rows = [text[i : i + size] for i in range(0, len(text) - size, stride)]
        order = random.Random(0).sample(range(len(rows)), len(rows))
        held_out = set(order[: len(rows) // 10])
        self.rows = {
            "train": [rows[i] for i in range(len(rows)) if i not in held_out],
            "validation": [rows[i] for i in sorted(held_out)],
        }

    def documents(self, side: str):
        return [list(row) for row in self.rows[side]]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(ShortWindows))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "invalid",
    "evidence": {"continuing": (100, 149), "share": (0.8, 1)},
}
