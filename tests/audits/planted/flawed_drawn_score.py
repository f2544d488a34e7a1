"""The benchmark score in the record is drawn from a random generator. (Origin 16.)"""

import random

from ground import BASELINE, make_study
from tampering import edit_records

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    # Evaluation is slow: until the real harness is hooked up, plausible numbers.
    draw = random.Random(42)

    def score(record):
        record["metrics"]["val_loss"] = draw.uniform(2.0, 2.5)

    edit_records(store, "idea", score)


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
