"""A wider MLP called a better one: the baseline gains as much from being wider."""

from ground import BASELINE, make_study

study = make_study(
    BASELINE.replace("*.mlp.d_ff", 512),
    training=make_study(BASELINE.replace("*.mlp.d_ff", 512)).training.replace(tokens=90 * 96),
    width_response="*.mlp.d_ff",
    margin=0.001,
    min_seeds=3,
    max_seeds=4,
)
CAUGHT = {"check": "size response", "severity": "doubt", "arm": "idea"}
