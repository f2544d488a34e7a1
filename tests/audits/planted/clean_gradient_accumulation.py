"""Four micro-batches to a step, and a schedule that is counted in steps."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

recipe = TRAINING.replace(micro_batch_tokens=24, schedule=pb.spec(pb.training.Cosine, warmup=0.1, floor=0.1))
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), training=recipe, changes={"idea": ("*norm",)})
