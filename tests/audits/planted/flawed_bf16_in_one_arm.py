"""One arm computes in bf16, the other in float32."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

idea = pb.Arm(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), TRAINING.replace(precision="bf16"))
study = make_study(idea, changes={"idea": ("*norm",)})
CAUGHT = {"check": "undeclared difference", "severity": "doubt", "arm": "idea", "site": "training.precision"}
