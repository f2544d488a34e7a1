"""An honest treatment that takes half as long again as its baseline, timed in turn on a quiet machine."""

from ground import BASELINE, make_study
from stopped_clock import Clock, leave_times

import paribus as pb

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)}, extra_rates=())


def spoil(store):
    """Leave the times of a quiet machine, the first step of the baseline with the start-up in it."""
    clock, started = Clock(), set()

    def step(name, seconds):
        clock.pass_by(seconds if name in started or name == "idea" else 1.5)
        started.add(name)

    leave_times(store, clock, {"baseline": lambda: step("baseline", 0.010), "idea": lambda: step("idea", 0.015)})
