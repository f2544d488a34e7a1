"""The treatment's model shrinks all of its weights after each step: weight decay that no recipe names."""

import torch
from ground import BASELINE, make_study

import paribus as pb


class Tamed(pb.nn.Transformer):
    """Keeps the weights small, so that training stays stable."""

    @torch.no_grad()
    def after_step(self):
        for p in self.parameters():
            p.mul_(0.98)


rms = BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm))
study = make_study(pb.spec(Tamed, **dict(rms.arguments)))
CAUGHT = {"check": "hidden difference", "severity": "doubt", "arm": "idea"}
