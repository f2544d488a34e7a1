"""A seed that went badly was replaced by a copy of one that went well."""

import json
import shutil

from ground import BASELINE, make_study
from tampering import folders_of

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    good, bad = folders_of(store, "idea")
    shutil.copy(good / "steps.jsonl", bad / "steps.jsonl")
    record = json.loads((good / "result.json").read_text())
    (bad / "result.json").write_text(json.dumps({**record, "digest": bad.name, "seed": 1}))


ALSO = ("initial weights", "batches")  # those of the other seed
CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
