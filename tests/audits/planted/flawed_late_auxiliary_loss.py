"""The treatment's model adds a z-loss after ten steps, which no look at an untrained model shows."""

from ground import BASELINE, make_study

import paribus as pb


class Settled(pb.nn.Transformer):
    """With a penalty on the partition function once the first steps are over."""

    taken = 0

    def after_step(self):
        self.taken += 1

    def forward(self, tokens):
        logits = super().forward(tokens)
        self.penalty = logits.logsumexp(-1).square().mean()
        return logits

    def aux(self):
        return {"z": 1e-2 * self.penalty} if self.taken >= 10 else {}


rms = BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm))
study = make_study(pb.spec(Settled, **dict(rms.arguments)))
CAUGHT = {
    "check": "late auxiliary loss",
    "severity": "doubt",
    "arm": "idea",
    "evidence": {"first_step": {"0": 11, "1": 11}},
}
