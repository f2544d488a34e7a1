"""The validation documents are a random sample of the training documents."""

import html
from pathlib import Path

import numpy as np
from ground import BASELINE, make_study

import paribus as pb


class EmailFiles:
    vocab_size = 256

    def __init__(self, n_validation: int = 6):
        files = sorted((Path(html.__file__).parents[1] / "email").glob("*.py"))
        self.files = [np.frombuffer(file.read_bytes()[:3000], dtype=np.uint8) for file in files]
        self.n_validation = n_validation

    def documents(self, side: str):
        long = [ids for ids in self.files if len(ids) > 1]
        if side == "train":
            return long
        picked = np.random.default_rng(7).choice(len(long), self.n_validation, replace=False)
        return [long[i] for i in picked]


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(EmailFiles))
CAUGHT = {
    "check": "train/validation overlap",
    "severity": "invalid",
    "evidence": {"duplicate_documents": 6, "train_repeats": 0.0},
}
