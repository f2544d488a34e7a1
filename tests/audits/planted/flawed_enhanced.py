"""The "enhanced" attention has a bias, wider values and stretched positions, all credited together. (Origin 7.)"""

from ground import BASELINE, make_study

import paribus as pb

latent = pb.spec(pb.nn.LatentAttention, kv_rank=12, nope_dim=8, rope_dim=8, value_dim=16, position=pb.spec(pb.nn.RoPE))
enhanced = (
    latent.replace("bias", True)
    .replace("value_dim", 24)
    .replace("position.scaling", pb.spec(pb.nn.LinearScaling, factor=2.0))
)

study = make_study(
    treatments={"latent": BASELINE.replace("*.mixer", latent), "enhanced": BASELINE.replace("*.mixer", enhanced)},
    changes={"latent": ("*.mixer",), "enhanced": ("*.mixer",)},
)
CAUGHT = {"check": "several differences", "severity": "note", "arm": "enhanced"}
