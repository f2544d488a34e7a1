"""A balance loss of detached probabilities: computed, shown, and without a gradient."""

from ground import BASELINE, MIXTURE, make_study

import paribus as pb


class Detached(pb.nn.TopK):
    def forward(self, x):
        routing = super().forward(x)
        self.balance = (routing.probabilities.detach() ** 2).sum(-1).mean()
        return routing

    def aux(self):
        return {"balance": self.balance}


mixture = BASELINE.replace("*.mlp", MIXTURE)
study = make_study(
    mixture.replace("*.router", pb.spec(Detached, top_k=1, normalize=False, score=pb.nn.sigmoid)),
    mixture,
    changes={"idea": ("*.router",)},
)
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea", "site": "blocks.0.mlp.router"}
ALSO = ("silent substitute",)  # nothing is trained on it
