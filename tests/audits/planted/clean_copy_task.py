"""The copying task: digits, a colon, the same digits again; sides drawn from different seeds."""

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Copy:
    vocab_size = 11

    def __init__(self, length: int = 8, n_train: int = 1000, n_validation: int = 60):
        self.length = length
        self.drawn = {"train": (1, n_train), "validation": (2, n_validation)}

    def documents(self, side: str):
        seed, count = self.drawn[side]
        rng = np.random.default_rng(seed)
        for _ in range(count):
            digits = rng.integers(0, 10, size=self.length)
            yield np.concatenate([digits, [10], digits])


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Copy))
