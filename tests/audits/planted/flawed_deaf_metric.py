"""A metric that never looks at the predictions: all arms would be equal to the bit, and called equivalent."""

from ground import BASELINE, make_study

import paribus as pb


def token_number(logits, targets):
    return targets / logits.shape[-1]


study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    metric=pb.Metric("token_number", "share of ids", measure=token_number),
)
REFUSED = "does not depend on the logits"
