"""Two changes together, and each in an arm of its own."""

from ground import BASELINE, make_study

import paribus as pb

rms = pb.spec(pb.nn.RMSNorm, eps=1e-5)
study = make_study(
    treatments={
        "norm": BASELINE.replace("*norm", rms),
        "cap": BASELINE.replace("*.softcap", 30.0),
        "both": BASELINE.replace("*norm", rms).replace("*.softcap", 30.0),
    },
    changes={"norm": ("*norm",), "cap": ("*.softcap",), "both": ("*norm", "*.softcap")},
    primary=("both",),
)
