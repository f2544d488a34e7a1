"""A gain that is called large, and that the baseline has after somewhat more tokens of the same text."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.002))
idea = pb.Arm(BASELINE, recipe.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.0025)))
study = make_study(idea, training=recipe, changes={"idea": ("training.optimizer.lr",)}, margin=0.01)
CAUGHT = {"check": "price in tokens", "severity": "note", "arm": "idea", "evidence": {"more_tokens": (0.01, 1.0)}}
