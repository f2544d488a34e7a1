"""A seed that went badly was replaced by a copy of one that went well."""

import json
import shutil
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    (registration,) = Path(store).glob("studies/*/registration.json")
    good, bad = json.loads(registration.read_text())["runs"]["idea"]
    runs = Path(store) / "runs"
    shutil.copy(runs / good / "steps.jsonl", runs / bad / "steps.jsonl")
    record = json.loads((runs / good / "result.json").read_text())
    (runs / bad / "result.json").write_text(json.dumps({**record, "digest": bad, "seed": 1}))


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
