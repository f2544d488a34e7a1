"""A run was stopped and resumed by a script that began its schedule anew: it ends at its peak learning rate."""

import json

from ground import BASELINE, make_study
from tampering import folders_of

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    file = folders_of(store, "idea")[1] / "steps.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines]
    for line, rate in zip(lines[20:], rates, strict=False):
        line["learning_rate"] = rate
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


CAUGHT = {
    "check": "schedule",
    "severity": "doubt",
    "arm": "idea",
    "evidence": {"last_over_peak": {"0": (0, 0.2), "1": (0.5, 1)}},
}
