"""The benchmark score in the record is drawn from a random generator. (Origin 16.)"""

import json
import random
from pathlib import Path

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)})


def spoil(store):
    # Evaluation is slow: until the real harness is hooked up, plausible numbers.
    draw = random.Random(42)
    name = "idea"
    (registration,) = Path(store).glob("studies/*/registration.json")
    for digest in json.loads(registration.read_text())["runs"][name]:
        path = Path(store) / "runs" / digest / "result.json"
        record = json.loads(path.read_text())
        record["metrics"]["val_loss"] = draw.uniform(2.0, 2.5)
        path.write_text(json.dumps(record))


CAUGHT = {"check": "evidence", "severity": "invalid", "arm": "idea"}
