"""Windows of 128 characters that overlap by half, split at random; few passages lie in one overlap. (Origin 1.)"""

import html
import random
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class HalfOverlap:
    def __init__(self, size: int = 128):
        text = (Path(html.__file__).parents[1] / "email" / "charset.py").read_text()
        letters = sorted(set(text))
        self.vocab_size, self.letters = len(letters), letters
        windows = [text[i : i + size] for i in range(0, len(text) - size, size // 2)]
        random.Random(1).shuffle(windows)
        self.windows = {"validation": windows[: len(windows) // 8], "train": windows[len(windows) // 8 :]}

    def documents(self, side: str):
        ids = {letter: i for i, letter in enumerate(self.letters)}
        return [[ids[letter] for letter in window] for window in self.windows[side]]

    def decode(self, ids):
        return "".join(self.letters[i] for i in ids)


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(HalfOverlap))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "invalid",
    "evidence": {"continuing": (20, 33), "share": (0.5, 1)},
}
