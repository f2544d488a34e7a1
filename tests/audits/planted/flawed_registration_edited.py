"""The margin was widened after the runs, so that the difference counts as none."""

import json
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    (path,) = Path(store).glob("studies/*/registration.json")
    registration = json.loads(path.read_text())
    registration["study"]["margin"] = registration["rule"]["margin"] = 0.5
    path.write_text(json.dumps(registration, indent=1, sort_keys=True))


REFUSED = "was changed after it was written"
