"""Two of twenty held-out documents are training documents with a line changed: a mirror that was crawled twice."""

import random

from ground import BASELINE, make_study

import paribus as pb


class Crawl:
    vocab_size = 128

    def __init__(self, n_train: int = 100, n_validation: int = 20):
        rng = random.Random(3)
        letters = "abcdefghijklmnopqrstuvwxyz"

        def page():
            return " ".join("".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(60))

        train, validation = [page() for _ in range(n_train)], [page() for _ in range(n_validation - 2)]
        mirrors = [text[:150] + " updated today " + text[150:] for text in train[:2]]
        self.pages = {"train": train, "validation": validation + mirrors}

    def documents(self, side: str):
        return [list(text.encode()) for text in self.pages[side]]

    def decode(self, ids):
        return bytes(ids).decode()


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Crawl))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "doubt",
    "evidence": {"mostly_shared_documents": 2, "duplicate_documents": 0},
}
