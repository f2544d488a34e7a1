"""SwiGLU has three matrices where the ReLU MLP has two, at the same hidden width. (Origin 8.)"""

from ground import BASELINE, make_study

import paribus as pb

baseline = BASELINE.replace("*.mlp", pb.spec(pb.nn.MLP, d_ff=128, activation=pb.nn.relu))
swiglu = baseline.replace("*.mlp", pb.spec(pb.nn.GatedMLP, d_ff=128, activation=pb.nn.silu))
study = make_study(swiglu, baseline, changes={"idea": ("*.mlp",)})
CAUGHT = {"check": "parameters and FLOPs", "severity": "doubt", "arm": "idea"}
