"""The treatment's optimizer decays weights and the baseline's does not: a default of torch was spelled out in one."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

plain = TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.01, weight_decay=0.0))
decayed = TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.01, weight_decay=0.1))
study = make_study(
    pb.Arm(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), decayed),
    training=plain,
    changes={"idea": ("*norm",)},
)
CAUGHT = {
    "check": "undeclared difference",
    "severity": "doubt",
    "arm": "idea",
    "site": "training.optimizer.weight_decay",
}
