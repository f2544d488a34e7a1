"""The baseline's runs are from before an update of paribus, the treatment's from after it."""

import json
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    (registration,) = Path(store).glob("studies/*/registration.json")
    for digest in json.loads(registration.read_text())["runs"]["baseline"]:
        path = Path(store) / "runs" / digest / "result.json"
        record = json.loads(path.read_text())
        record["pairing"]["code"] = "5f1e0d2c7a934b68"
        path.write_text(json.dumps(record))


CAUGHT = {"check": "environment", "severity": "doubt", "arm": "idea"}
