"""Windows of 64 bytes at a stride of 4, shuffled and split at random: scored text is trained on. (Origin 1.)"""

import html
import random
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb


class WindowDataset:
    """Fixed windows over one text, as most tutorials cut them."""

    vocab_size = 256

    def __init__(self, size: int = 64, stride: int = 4, validation: float = 0.1, seed: int = 42):
        text = (Path(html.__file__).parents[1] / "email" / "message.py").read_bytes()[:20_000]
        windows = [list(text[i : i + size]) for i in range(0, len(text) - size, stride)]
        random.Random(seed).shuffle(windows)
        cut = int(validation * len(windows))
        self.windows = {"validation": windows[:cut], "train": windows[cut:]}

    def documents(self, side: str):
        return self.windows[side]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(WindowDataset))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "invalid",
    "evidence": {"shared_share": (0.99, 1), "invalid_above": 0.5},
}
