"""A constant learning rate after warm-up, for all arms: declared, and good for comparing at any time."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(schedule=pb.spec(pb.training.Constant, warmup=0.1))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
