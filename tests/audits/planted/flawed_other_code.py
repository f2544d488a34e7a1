"""The baseline's runs are from before an update of paribus, the treatment's from after it."""

from ground import BASELINE, make_study
from tampering import edit_records

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    edit_records(store, "baseline", lambda record: record["pairing"].update(code="5f1e0d2c7a934b68"))


CAUGHT = {"check": "environment", "severity": "doubt", "arm": "idea"}
