"""Pixels of binary pictures on an empty ground, row by row, each drawn for itself: pictures share their ground."""

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Rings:
    """One ring of 28 x 28 pixels, of its own place, radius, width and height."""

    vocab_size = 2

    def __init__(self, n_train: int = 300, n_validation: int = 40):
        self.drawn = {"train": (0, n_train), "validation": (1, n_validation)}

    def documents(self, side: str):
        seed, count = self.drawn[side]
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:28, :28]
        for _ in range(count):
            (y, x), height = rng.uniform(10, 18, size=2), rng.uniform(0.8, 1.2)
            distance = np.hypot((rows - y) * height, columns - x)
            yield (np.abs(distance - rng.uniform(5, 8)) < rng.uniform(1.5, 3)).astype(int).ravel()


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Rings))
