"""A norm from a package that is not there, replaced by the baseline's without a word. (Origin 14.)"""

from ground import BASELINE, make_study

import paribus as pb

try:
    from fused_norms import FastNorm
except ImportError:
    FastNorm = pb.nn.LayerNorm

study = make_study(BASELINE.replace("*norm", pb.spec(FastNorm)))
CAUGHT = {"check": "sites changed", "severity": "invalid", "arm": "idea"}
