"""Half as many steps of twice the size, and it is said."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

study = make_study(
    pb.Arm(BASELINE, TRAINING.replace(batch_tokens=192, evaluations=3)), changes={"idea": ("training.batch_tokens",)}
)
