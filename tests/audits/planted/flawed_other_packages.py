"""One arm was run again on a colleague's machine, with another version of torch."""

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
        record["pairing"]["packages"]["torch"] = "2.3.1"
        path.write_text(json.dumps(record))


CAUGHT = {"check": "environment", "severity": "doubt", "arm": "idea"}
