"""Forty passes over a corpus of a few pages: what is compared is how well the arms memorise it."""

import random

from ground import BASELINE, TRAINING, make_study

import paribus as pb


class Pages:
    """Forty pages of 249 letters and one page end each, 10,000 tokens, and eight pages held out."""

    vocab_size = 128

    def __init__(self, n_train: int = 40, n_validation: int = 8):
        rng = random.Random(5)
        pages = ["".join(rng.choices("etaoin shrdlu", k=249)) for _ in range(n_train + n_validation)]
        self.pages = {"train": pages[:n_train], "validation": pages[n_train:]}

    def documents(self, side: str):
        return [list(page.encode()) for page in self.pages[side]]

    def decode(self, ids):
        return bytes(ids).decode()


recipe = TRAINING.replace(tokens=40 * 10_000, batch_tokens=960)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), data=pb.spec(Pages), training=recipe)
CAUGHT = {
    "check": "budget",
    "severity": "doubt",
    "arm": None,
    "evidence": {"passes": {"baseline": (39.8, 40.2)}, "corpus_tokens": 10_000},
}
