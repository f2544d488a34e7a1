"""An MLP that rounds its input to bfloat16, in a study in fp32."""

from ground import BASELINE, make_study

import paribus as pb


class QuickMLP(pb.nn.GatedMLP):
    def forward(self, x):
        return super().forward(x.bfloat16().to(x.dtype))


study = make_study(BASELINE.replace("*.mlp", pb.spec(QuickMLP, **dict(BASELINE["blocks.0.mlp"].arguments))))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp"}
