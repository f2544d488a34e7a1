"""The losses of one arm were lowered by hand, in the metrics and in the curve, and forgotten in the documents."""

import json
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    (registration,) = Path(store).glob("studies/*/registration.json")
    for digest in json.loads(registration.read_text())["runs"]["idea"]:
        path = Path(store) / "runs" / digest / "result.json"
        record = json.loads(path.read_text())
        record["metrics"]["val_loss"] -= 0.05
        record["evaluations"][-1]["loss"] -= 0.05
        path.write_text(json.dumps(record))


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
