"""Training is stopped after 30 steps, when the loss falls fastest, and a verdict is given on the idea as such."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(
    optimizer=pb.spec(torch.optim.AdamW, lr=0.002), schedule=pb.spec(pb.training.Constant, warmup=0.1)
)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), training=recipe)
CAUGHT = {
    "check": "still falling",
    "severity": "note",
    "evidence": {"gain_in_10_percent_more_tokens": {"baseline": (0.03, 0.5), "idea": (0.03, 0.5)}},
}
