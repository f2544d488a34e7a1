"""The treatment's runs are from a week in which the loader drew its batches from other seeds. (Origin 5.)"""

from ground import BASELINE, make_study
from tampering import edit_records

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    edit_records(store, "idea", lambda record: record["pairing"].update(batches=record["pairing"]["batches"][::-1]))


CAUGHT = {"check": "batches", "severity": "invalid", "arm": "idea", "evidence": {"seeds": [0, 1], "pairs": 2}}
