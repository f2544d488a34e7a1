"""Identical code is timed by a stop-watch, arm after arm: the first one pays the start-up, and the other looks faster.
(Origin 11.)"""

from ground import BASELINE, make_study

from paribus.judgement import TIME_MARGIN, Rule, judge_times
from paribus.store.store import Store

study = make_study(BASELINE, null=("idea",), extra_rates=())

CAUGHT = {"check": "timing", "severity": "doubt", "arm": "idea"}

# Written where paribus keeps its own times: no public call takes those of another clock.
# minutes of three trainings each, the baseline's first
MINUTES = {"baseline": [1.83, 1.79, 1.81], "idea": [1.22, 1.21, 1.23]}


def spoil(store):
    """Put the stop-watch's times where the report looks for times."""
    seconds = {name: [60 * value for value in own] for name, own in MINUTES.items()}
    verdicts = judge_times(seconds, Rule(margin=TIME_MARGIN))
    measured = {
        "margin": 0.02,
        "rule": Rule(margin=TIME_MARGIN).to_json(),
        "rounds": 3,
        "rejected_rounds": {"reference": 0, "descheduled": 0},
        "busy": False,
        "steps_per_block": 30,
        "arms": {
            name: {
                "first_step_seconds": own[0] / 30,
                "step_seconds": own[1] / 30,
                "block_seconds": own,
                "cpu_share": 1.0,
            }
            for name, own in seconds.items()
        },
        "reference": {"seconds": 0.02, "spread": 1.0, "times": 1},  # it timed no reference
        "load_average": [None, None],
        "treatments": {name: verdict.to_json() for name, verdict in verdicts.items()},
        "device": "cpu",
        "device_name": "my laptop",
        "threads": 1,
    }
    (name,) = Store.open(store).study_names()
    Store.open(store).write_timing(name, measured)
