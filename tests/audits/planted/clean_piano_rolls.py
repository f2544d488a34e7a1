"""Piano rolls of short notes and long rests, each drawn for itself: rests are everywhere."""

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class Rolls:
    """256 moments; 0 is silence, 1 to 31 are pitches."""

    vocab_size = 32

    def documents(self, side: str):
        rng = np.random.default_rng(["train", "validation"].index(side))
        for _ in range(300 if side == "train" else 40):
            roll, moment = np.zeros(256, dtype=int), 0
            while moment < 256:
                if rng.random() < 0.5:
                    length = rng.integers(1, 4)
                    roll[moment : moment + length] = rng.integers(1, 32)
                    moment += length
                else:
                    moment += rng.integers(8, 40)
            yield roll


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Rolls))
