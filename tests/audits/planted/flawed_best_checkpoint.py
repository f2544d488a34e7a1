"""One arm is reported at the best of its earlier evaluations, the other at its last."""

import torch
from ground import BASELINE, TRAINING, make_study
from tampering import edit_records

import paribus as pb

# A rate at which the loss goes up again.
STEEP = TRAINING.replace(
    optimizer=pb.spec(torch.optim.AdamW, lr=0.3), schedule=pb.spec(pb.training.Constant), evaluations=6
)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=STEEP, changes={"idea": ("*norm",)})


def spoil(store):
    def take_the_best(record):
        best = min(record["evaluations"][1:-1], key=lambda evaluation: evaluation["loss"])
        record["metrics"] |= {"val_loss": best["loss"], "val_accuracy": best["accuracy"]}

    edit_records(store, "idea", take_the_best)


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
