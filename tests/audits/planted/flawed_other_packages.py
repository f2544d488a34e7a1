"""One arm was run again on a colleague's machine, with another version of torch."""

from ground import BASELINE, make_study
from tampering import edit_records

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    edit_records(store, "idea", lambda record: record["pairing"]["packages"].update(torch="2.3.1"))


CAUGHT = {"check": "environment", "severity": "doubt", "arm": "idea"}
