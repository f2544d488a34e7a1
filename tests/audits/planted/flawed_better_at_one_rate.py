"""A gain that is a better learning rate for one arm: it turns at 32 times the rate, where the default probe of half
and double the rate does not look and sees nothing."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

study = make_study(
    pb.Arm(BASELINE, TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.02))),
    training=TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.002)),
    changes={"idea": ("training.optimizer.lr",)},
    extra_rates=(32.0,),
    min_seeds=3,
    max_seeds=3,
)
CAUGHT = {"check": "learning rate", "severity": "doubt", "arm": "idea"}
