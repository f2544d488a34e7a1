"""Warm-up, a plateau, and a short linear decay."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(schedule=pb.spec(pb.training.WarmupStableDecay, warmup=0.1, decay=0.3))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
