"""One arm is reported at its best evaluation, the other at its last."""

import json
from pathlib import Path

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

# A rate at which the loss goes up again.
STEEP = TRAINING.replace(
    optimizer=pb.spec(torch.optim.AdamW, lr=0.3), schedule=pb.spec(pb.training.Constant), evaluations=6
)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=STEEP, changes={"idea": ("*norm",)})


def spoil(store):
    (registration,) = Path(store).glob("studies/*/registration.json")
    for digest in json.loads(registration.read_text())["runs"]["idea"]:
        path = Path(store) / "runs" / digest / "result.json"
        record = json.loads(path.read_text())
        best = min(record["evaluations"][1:], key=lambda evaluation: evaluation["loss"])
        record["metrics"]["val_loss"] = best["loss"]
        record["metrics"]["val_accuracy"] = best["accuracy"]
        path.write_text(json.dumps(record))


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
