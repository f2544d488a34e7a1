"""Every document in five versions with three tokens changed, split at random: training repeats itself as much."""

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Augmented:
    vocab_size = 64

    def __init__(self, n: int = 60, versions: int = 5, length: int = 200):
        rng = np.random.default_rng(0)
        documents = np.repeat(rng.integers(0, 64, size=(n, length)), versions, axis=0)
        for document in documents:
            document[rng.integers(0, length, size=3)] = rng.integers(0, 64, size=3)
        rng.shuffle(documents)
        self.given = {"train": documents[40:], "validation": documents[:40]}

    def documents(self, side: str):
        return list(self.given[side])


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Augmented))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "doubt",
    "evidence": {"documents": 40, "near_copies": (35, 40), "train_shared_share": (0.6, 0.9)},
}
