"""The question is the average itself: the treatment is the baseline, scored with a running mean of its weights."""

import torch
from ground import BASELINE, make_study

import paribus as pb


class Averaged(pb.nn.Transformer):
    """Swaps a running mean of the weights in for evaluation."""

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


study = make_study(pb.spec(Averaged, **dict(BASELINE.arguments)), question="Does an average of the weights help?")
