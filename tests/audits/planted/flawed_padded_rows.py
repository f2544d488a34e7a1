"""Sums in rows of 160 tokens, padded by one id: two thirds of what is scored is padding."""

import numpy as np
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class PaddedSums:
    vocab_size = 14  # 0 is padding

    def documents(self, side):
        rng = np.random.default_rng({"train": 1, "validation": 2}[side])
        ids = {character: i + 1 for i, character in enumerate("0123456789+=;")}
        for _ in range(900 if side == "train" else 60):
            terms = rng.integers(0, 100_000, size=(int(rng.integers(2, 5)), 2))
            text = ";".join(f"{a}+{b}={a + b}" for a, b in terms)
            yield np.pad([ids[character] for character in text], (0, 160 - len(text)))


study = make_study(BASELINE.replace("*norm", pb.spec(nn.RMSNorm)), data=pb.spec(PaddedSums))
CAUGHT = {"check": "padding", "severity": "doubt"}
