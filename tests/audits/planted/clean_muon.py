"""Matrices by Muon, everything else by AdamW, in both arms."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(optimizer=pb.spec(pb.training.MuonAdamW, lr=0.02))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
