"""The treatment is scored with an average of its weights, the baseline with its last ones."""

import torch
from ground import BASELINE, make_study

import paribus as pb


class Averaged(pb.nn.Transformer):
    """Keeps a running mean of the weights and swaps it in for evaluation."""

    mean = None

    @torch.no_grad()
    def after_step(self):
        if self.mean is None:
            self.mean = [p.clone() for p in self.parameters()]
        for mean, p in zip(self.mean, self.parameters(), strict=True):
            mean.lerp_(p, 0.1)

    @torch.no_grad()
    def train(self, mode=True):
        if self.mean is not None and mode != self.training:
            for mean, p in zip(self.mean, self.parameters(), strict=True):
                kept = p.clone()
                p.copy_(mean)
                mean.copy_(kept)
        return super().train(mode)


rms = BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm))
study = make_study(pb.spec(Averaged, **dict(rms.arguments)))
CAUGHT = {
    "check": "hidden difference",
    "severity": "doubt",
    "arm": "idea",
    "evidence": {"what": "weights", "when": "when it is evaluated"},
}
