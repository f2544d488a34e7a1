"""The treatment is trained at another learning rate, which nobody says."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

idea = pb.Arm(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.02)),
)
study = make_study(idea, changes={"idea": ("*norm",)})
CAUGHT = {"check": "undeclared difference", "severity": "doubt", "arm": "idea", "site": "training.optimizer.lr"}
