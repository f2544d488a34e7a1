"""A norm prepares its kernel in the first step: a clock that starts there charges it to the arm that has it."""

import time

import torch
from ground import BASELINE, make_study
from torch import nn

import paribus as pb
from paribus.bench import prepare_corpus
from paribus.execution.timing import measure_times
from paribus.records import Store, write_json


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
            time.sleep(0.15)  # "compiling"
            self.is_ready = True
        return nn.functional.layer_norm(x, x.shape[-1:], self.gain)


study = make_study(BASELINE.replace("final_norm", pb.spec(FusedNorm)), changes={"idea": ("final_norm",)}, rate_probe=())

CAUGHT = {"check": "timing", "severity": "note", "arm": "idea"}


def spoil(store):
    """Time the arms, as ``paribus run --timing`` does, with short blocks."""
    # Timed here through internals: a full `--timing` takes seconds.
    place = Store.open(store)
    (name,) = place.study_names()
    timing = measure_times(study, prepare_corpus(study)[0], block_seconds=0.02, most_rounds=3)
    write_json(place.study_folder(name) / "timing.json", timing)
