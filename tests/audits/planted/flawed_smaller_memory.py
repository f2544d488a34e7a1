"""One head of keys and values for four of queries is called as good, at a quarter of the memory, which nobody says."""

from ground import BASELINE, make_study

import paribus as pb

baseline = BASELINE.replace("n_heads", 4)
shared = baseline.replace("*.mixer.n_kv_heads", 1)
study = make_study(
    pb.Arm(shared, match="parameters", width="*.mlp.d_ff"),
    baseline,
    changes={"idea": ("*.mixer.n_kv_heads", "*.mlp.d_ff")},
)
CAUGHT = {
    "check": "state size",
    "severity": "note",
    "arm": "idea",
    # keys and values of width 32, of 24 positions, in 2 layers; 8 of 32 are left
    "evidence": {"baseline": 3072, "treatment": 768},
}
