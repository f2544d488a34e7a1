"""The licence, repeated among the training documents, is one of the twelve that are scored."""

import random

from ground import BASELINE, make_study

import paribus as pb


class Collection:
    vocab_size = 128

    def __init__(self):
        rng = random.Random(5)

        def text(words):
            return " ".join("".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(words))

        licence = text(40)
        train = [text(rng.randint(30, 90)) for _ in range(80)] + [licence] * 20
        self.texts = {"train": train, "validation": [text(rng.randint(30, 90)) for _ in range(11)] + [licence]}

    def documents(self, side: str):
        return [list(text.encode()) for text in self.texts[side]]


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Collection))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "invalid",
    "evidence": {"duplicate_documents": 1, "shared_share": (0, 0.15)},
}
