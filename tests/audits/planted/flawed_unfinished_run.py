"""A run that was stopped two thirds of the way is presented as done."""

import json
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    (registration,) = Path(store).glob("studies/*/registration.json")
    digest = json.loads(registration.read_text())["runs"]["idea"][1]
    steps = Path(store) / "runs" / digest / "steps.jsonl"
    steps.write_text("".join(steps.read_text().splitlines(keepends=True)[:20]))


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
