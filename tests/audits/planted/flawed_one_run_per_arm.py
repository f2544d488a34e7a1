"""One run of each arm, and an effect size from the spread of the arms' means. (Origin 6.)"""

from ground import BASELINE, make_study

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), min_seeds=1, max_seeds=1)
REFUSED = "need 2 <= min_seeds"
