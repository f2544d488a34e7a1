"""A run that was stopped two thirds of the way is presented as done."""

from ground import BASELINE, make_study
from tampering import folders_of

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    steps = folders_of(store, "idea")[1] / "steps.jsonl"
    steps.write_text("".join(steps.read_text().splitlines(keepends=True)[:20]))


ALSO = ("schedule",)  # it did not reach the end of its schedule either
CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
