"""Another eps of the last norm: the same function but for rounding, sold as another norm. (Origin 4.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("final_norm", pb.spec(pb.nn.LayerNorm, eps=1e-6)))
CAUGHT = {"check": "same function", "severity": "note", "arm": "idea"}
