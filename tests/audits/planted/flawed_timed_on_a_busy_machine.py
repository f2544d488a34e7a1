"""The arms are timed while something else comes and goes on the machine: a fixed computation takes now 2, now 20 ms."""

import itertools

from ground import BASELINE, make_study
from stopped_clock import Clock, leave_times

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)}, extra_rates=())

CAUGHT = {"check": "timing", "severity": "doubt", "evidence": {"reference_spread": (1.5, 11)}}


def spoil(store):
    """Time the arms with a reference that the other load slows down every second time."""
    clock, load = Clock(), itertools.cycle([0.002, 0.020])
    steps = {name: lambda: clock.pass_by(0.010) for name in study.arms}
    leave_times(store, clock, steps, reference=lambda: next(load))
