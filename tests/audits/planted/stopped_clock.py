"""A clock that goes on only when it is told to, and the file in which paribus keeps its times."""

import random
from dataclasses import replace

from paribus.design.plain import to_plain
from paribus.execution.timing import Instruments, time_steps
from paribus.judgement import TIME_MARGIN, Rule
from paribus.store.store import Store


class Clock:
    """Reads what has passed; each stretch is off by 0.2 %, as on a quiet machine."""

    def __init__(self):
        self.now, self.noise = 0.0, random.Random(0)

    def pass_by(self, seconds):
        self.now += seconds * self.noise.gauss(1, 0.002)


def leave_times(store, clock, steps, reference=lambda: 0.02):
    """Put what `paribus time` would have written into ``store``, had ``clock`` been this machine's.

    ``reference`` says how long the fixed computation takes, each time it is asked. Timed here through internals: no
    public call takes another clock.
    """
    read = {"clock": lambda: clock.now, "cpu_clock": lambda: clock.now}
    timed = time_steps(
        steps, Rule(margin=TIME_MARGIN), Instruments(reference=lambda: clock.pass_by(reference()), **read)
    )
    place = Store.open(store)
    (name,) = place.study_names()
    place.write_timing(name, to_plain(replace(timed, device="cpu", device_name="planted", threads=1)))
