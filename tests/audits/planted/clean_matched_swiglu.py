"""SwiGLU at the width at which its parameters are the baseline's."""

from ground import BASELINE, make_study

import paribus as pb

baseline = BASELINE.replace("*.mlp", pb.spec(pb.nn.MLP, d_ff=132, activation=pb.nn.relu))
swiglu = baseline.replace("*.mlp", pb.spec(pb.nn.GatedMLP, d_ff=100, activation=pb.nn.silu))
study = make_study(pb.Arm(swiglu, match="parameters", width="*.mlp.d_ff"), baseline, changes={"idea": ("*.mlp",)})
