"""One run of the baseline was scored on an older cut of the validation side."""

import json

from ground import BASELINE, make_study
from tampering import folders_of

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    file = folders_of(store, "baseline")[0] / "result.json"
    record = json.loads(file.read_text())
    record["pairing"]["evaluation"] = "0c4f2b9d1e8a7365"
    file.write_text(json.dumps(record))


CAUGHT = {"check": "held-out tokens", "severity": "invalid", "arm": "idea", "evidence": {"seeds": [0], "pairs": 2}}
