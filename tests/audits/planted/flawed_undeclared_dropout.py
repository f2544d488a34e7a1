"""The norm study's treatment was copied from a script with dropout in it."""

from ground import BASELINE, make_study

import paribus as pb

idea = BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)).replace("dropout", 0.1)
study = make_study(idea, changes={"idea": ("*norm",)})
CAUGHT = {"check": "undeclared difference", "severity": "doubt", "arm": "idea", "site": "dropout"}
