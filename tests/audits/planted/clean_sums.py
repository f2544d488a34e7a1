"""Sums modulo 23, drawn for themselves on both sides: there are so few that most occur on both, by chance."""

import torch
from ground import BASELINE, make_study

import paribus as pb


class Sums:
    """a + b = c as the ids (a, b, c)."""

    vocab_size = 23
    sides = ("train", "validation", "confirm")

    def documents(self, side: str):
        generator = torch.Generator().manual_seed(self.sides.index(side))
        pairs = torch.randint(23, (1000 if side == "train" else 100, 2), generator=generator)
        return [torch.stack((a, b, (a + b) % 23)) for a, b in pairs]


study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)), data=pb.spec(Sums))
