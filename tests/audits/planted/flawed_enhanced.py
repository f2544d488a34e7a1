"""The "enhanced" attention is credited to its bias and its stretched positions; it has wider values too. (Origin 7.)"""

from ground import BASELINE, make_study

import paribus as pb

latent = pb.spec(pb.nn.LatentAttention, kv_rank=12, nope_dim=8, rope_dim=8, value_dim=16, position=pb.spec(pb.nn.RoPE))
enhanced = (
    latent.replace("bias", True)
    .replace("value_dim", 24)
    .replace("position.scaling", pb.spec(pb.nn.LinearScaling, factor=2.0))
)

study = make_study(
    BASELINE.replace("*.mixer", enhanced),
    BASELINE.replace("*.mixer", latent),
    changes={"idea": ("*.mixer.bias", "*.mixer.position.scaling")},
)
CAUGHT = (
    {
        "check": "undeclared difference",
        "severity": "doubt",
        "arm": "idea",
        "site": "blocks.0.mixer.value_dim",
        "evidence": {
            "undeclared": ["blocks.0.mixer.value_dim: 16 -> 24", "blocks.1.mixer.value_dim: 16 -> 24"],
        },
    },
    {"check": "several differences", "severity": "note", "arm": "idea", "evidence": {"n_kinds": 3}},
)
ALSO = ("parameters and FLOPs",)  # the wider values again: +6 % FLOPs
