"""A model class that adds a z-loss on its logits as an auxiliary loss, unnamed by any argument."""

from ground import BASELINE, make_study

import paribus as pb


class Steadied(pb.nn.Transformer):
    def forward(self, tokens):
        logits = super().forward(tokens)
        self.size = logits.logsumexp(-1).square().mean()
        return logits

    def aux(self):
        return {"z": 1e-3 * self.size}


study = make_study(pb.spec(Steadied, **dict(BASELINE.arguments)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "model"}
