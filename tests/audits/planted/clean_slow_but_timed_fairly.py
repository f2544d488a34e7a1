"""An honest treatment that takes half as long again as its baseline, timed in turn on a quiet machine."""

import random

from ground import BASELINE, make_study

import paribus as pb
from paribus.execution.timing import Instruments, time_steps
from paribus.judgement import TIME_MARGIN, Rule
from paribus.records import Store, write_json

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)}, rate_probe=())


class Clock:
    """The clock of a quiet machine, as it would have been read."""

    def __init__(self):
        self.now, self.noise = 0.0, random.Random(0)

    def pass_by(self, seconds):
        self.now += seconds * self.noise.gauss(1, 0.002)


def spoil(store):
    """Leave the times of a quiet machine, the first step of the baseline with the start-up in it."""
    clock, started = Clock(), set()

    def step(name, seconds):
        clock.pass_by(seconds if name in started or name == "idea" else 1.5)
        started.add(name)

    steps = {"baseline": lambda: step("baseline", 0.010), "idea": lambda: step("idea", 0.015)}
    read = {"clock": lambda: clock.now, "cpu_clock": lambda: clock.now}
    instruments = Instruments(reference=lambda: clock.pass_by(0.02), **read)
    timed = time_steps(steps, Rule(margin=TIME_MARGIN), instruments)
    place = Store.open(store)
    (name,) = place.study_names()
    machine = {"device": "cpu", "device_name": "quiet", "threads": 1}
    write_json(place.study_folder(name) / "timing.json", {"measured": {**timed, **machine}})
