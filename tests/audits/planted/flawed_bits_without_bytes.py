"""A study of integers that is judged on bits per byte of a text that nobody has."""

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Walks:
    """Random walks on a ring of 50."""

    vocab_size = 50

    def documents(self, side: str):
        rng = np.random.default_rng(0 if side == "train" else 1)
        return [np.cumsum(rng.integers(-3, 4, size=100)) % 50 for _ in range(100 if side == "train" else 20)]


study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Walks), metric=pb.VAL_BITS_PER_BYTE
)
REFUSED = "no decode(ids)"
