"""Two changes and both together: every arm differs in what its factors declare, and the verdicts are of contrasts."""

from ground import BASELINE, CORPUS, TRAINING

import paribus as pb

study = pb.factorial(
    question="Do RMSNorm and a higher learning rate add up?",
    baseline=BASELINE,
    factors={
        "RMSNorm": {"*norm": pb.spec(pb.nn.RMSNorm)},
        "fast": {"training.learning_rate": 1.5},
    },
    data=CORPUS,
    training=TRAINING,
    margin=0.03,
    min_seeds=2,
    max_seeds=2,
)
