"""Attention in one layer, paribus's linear attention in the other."""

from ground import BASELINE, make_study

import paribus as pb

hybrid = BASELINE.replace("blocks.0.mixer", pb.spec(pb.nn.LinearAttention, chunk=8))
study = make_study(pb.Arm(hybrid, match="parameters", width="*.mlp.d_ff"), changes={"idea": ("*.mixer", "*.mlp.d_ff")})
