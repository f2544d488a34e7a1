"""The losses of one arm were lowered by hand, in the metrics and in the curve, and forgotten in the documents."""

from ground import BASELINE, make_study
from tampering import edit_records

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    def lower(record):
        record["metrics"]["val_loss"] -= 0.05
        record["evaluations"][-1]["loss"] -= 0.05

    edit_records(store, "idea", lower)


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
