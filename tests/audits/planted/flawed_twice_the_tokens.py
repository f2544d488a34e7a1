"""The treatment is trained on twice as many tokens, as it "needs longer to converge"."""

from ground import BASELINE, TRAINING, make_study

import paribus as pb

idea = pb.Arm(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), TRAINING.replace(tokens=2 * TRAINING.tokens))
study = make_study(idea)
ALSO = ("undeclared difference",)  # nobody says so either
CAUGHT = {"check": "tokens and steps", "severity": "doubt", "arm": "idea", "site": "training.tokens"}
