"""A model with another norm and twice the width: the baseline gains as much from its width alone."""

import torch
from ground import BASELINE, TRAINING, make_study

import paribus as pb

narrow = pb.nn.llama(d_model=16, n_layers=2, n_heads=2, norm=pb.spec(pb.nn.LayerNorm))
study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    narrow,
    training=TRAINING.replace(tokens=30 * 96, optimizer=pb.spec(torch.optim.AdamW, lr=0.002)),
    width_response="d_model",
    min_seeds=3,
    max_seeds=6,
)
ALSO = ("parameters and FLOPs", "starting scale")  # twice the width is four times the matrices, and three times as loud
CAUGHT = {"check": "size response", "severity": "doubt", "arm": "idea"}
