"""Attention whose output matrix starts at zero, the baseline's does not: the same function, at another start."""

from ground import BASELINE, make_study

study = make_study(BASELINE.replace("*.mixer.out_std", 0.0), changes={"idea": ("*.mixer.out_std",)})
CAUGHT = {"check": "same function", "severity": "doubt", "arm": "idea", "site": "blocks.0.mixer.o"}
