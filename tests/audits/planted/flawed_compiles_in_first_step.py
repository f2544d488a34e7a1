"""A norm prepares its kernel in the first step: a clock that starts there charges it to the arm that has it."""

import torch
from ground import BASELINE, make_study
from stopped_clock import Clock, leave_times
from torch import nn

import paribus as pb
from paribus.execution.timing import make_step
from paribus.execution.trained import prepare_data
from paribus.nn.contract import build_model

CLOCK = Clock()


class FusedNorm(nn.Module):
    """A LayerNorm of our own kernel; it takes a while until the one for training is there."""

    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.is_ready = False

    def reset_parameters(self):
        nn.init.ones_(self.gain)

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and not self.is_ready:
            CLOCK.pass_by(0.15)  # "compiling"
            self.is_ready = True
        return nn.functional.layer_norm(x, x.shape[-1:], self.gain)


study = make_study(
    BASELINE.replace("final_norm", pb.spec(FusedNorm)), changes={"idea": ("final_norm",)}, extra_rates=()
)

CAUGHT = {
    "check": "timing",
    "severity": "note",
    "arm": "idea",
    "evidence": {"first_over_later": {"baseline": (0.9, 1.1), "idea": (15, 17)}},
}


def spoil(store):
    """Time real steps of both arms by a clock on which each takes 10 ms, and the kernel what it takes."""
    corpus, _ = prepare_data(study.data, study.training)

    def timed(arm):
        model = build_model(arm.model, 0, vocab_size=corpus.vocab_size, seq_len=arm.training.seq_len)
        train = make_step(model, arm.training, 0, corpus)

        def step():
            train()
            CLOCK.pass_by(0.010)

        return step

    leave_times(store, CLOCK, {name: timed(arm) for name, arm in study.arms.items()})
