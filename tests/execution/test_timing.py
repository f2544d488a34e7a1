"""Interleaved timing, on a machine whose clock the test turns: nothing here depends on real time."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from paribus.data.held_out import HeldOut
from paribus.design.plain import read_plain, to_plain
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import Study
from paribus.errors import StudyError
from paribus.execution.timing import Instruments, make_step, measure_times, time_steps
from paribus.judgement import TIME_MARGIN, Rule
from paribus.judgement.speed import MeasuredTimes
from paribus.nn.contract import roles
from paribus.training.loop import train


class Machine:
    """A clock that moves only when something works, a noise of its own, and a slowness that may change with time."""

    def __init__(self, noise=0.002, slowness=lambda now: 1.0, processor=lambda now: 1.0):
        self.now, self.worked = 0.0, 0.0
        self.slowness, self.processor = slowness, processor
        self.rng, self.noise = np.random.default_rng(0), noise
        self.calls = []

    def work(self, name, seconds):
        def step():
            first = start_up if name not in self.calls and (start_up := self.start_up(name)) else 0.0
            self.calls.append(name)
            took = seconds * self.slowness(self.now) * math.exp(self.noise * self.rng.standard_normal()) + first
            self.worked += took * self.processor(self.now)
            self.now += took

        return step

    def start_up(self, name):
        return {"baseline": 3.0}.get(name, 0.0)

    def instruments(self, **changes):
        read = {
            "reference": self.work("reference", 0.02),
            "clock": lambda: self.now,
            "cpu_clock": lambda: self.worked,
            "load": lambda: (0.5, 0.4, 0.3),
        }
        return Instruments(**{**read, **changes})

    def time(self, seconds, block_seconds=0.3, n_max=10, **changes):
        steps = {name: self.work(name, cost) for name, cost in seconds.items()}
        rule = Rule(margin=TIME_MARGIN, n_primary=len(seconds) - 1, n_max=n_max)
        return time_steps(steps, rule, self.instruments(**changes), block_seconds)


def test_an_arm_of_ten_per_cent_more_work_is_slower_by_ten_per_cent():
    timed = Machine().time({"baseline": 0.010, "idea": 0.011})
    row = timed.treatments["idea"]
    assert row.kind == "slower"
    assert row.ratio == pytest.approx(1.10, rel=0.01)
    assert row.interval[0] < 1.10 < row.interval[1]
    assert not timed.busy


def test_arms_of_equal_work_are_equal_within_two_per_cent():
    timed = Machine().time({"baseline": 0.010, "idea": 0.010})
    assert timed.treatments["idea"].kind == "equal within 2 %"


def test_a_machine_that_slows_down_evenly_slows_all_arms_alike():
    """1 % slower every second: the naive order, one arm after the other, sees what is not there."""

    def slowness(now):
        return 1 + 0.01 * now

    # the first arm's start-up is over and would only help the naive order
    machine = Machine(noise=1e-4, slowness=slowness)
    baseline, idea = machine.work("warm", 0.010), machine.work("warm", 0.010)
    began = machine.now
    for _ in range(300):
        baseline()
    middle = machine.now
    for _ in range(300):
        idea()
    assert (machine.now - middle) / (middle - began) > 1.02

    drifting = Machine(noise=1e-4, slowness=slowness)
    drifting.start_up = lambda name: 0.0
    row = drifting.time({"baseline": 0.010, "idea": 0.010, "other": 0.011}).treatments
    assert row["idea"].ratio == pytest.approx(1.0, abs=1e-3)
    assert row["idea"].kind == "equal within 2 %"
    assert row["other"].ratio == pytest.approx(1.1, abs=1e-3)
    assert row["other"].kind == "slower"


def test_the_start_up_of_the_first_arm_is_kept_apart():
    timed = Machine(noise=1e-6).time({"baseline": 0.010, "idea": 0.010})
    assert timed.arms["baseline"].first_step_seconds == pytest.approx(3.010, rel=1e-3)
    assert timed.arms["idea"].first_step_seconds == pytest.approx(0.010, rel=1e-3)
    for arm in timed.arms.values():
        assert arm.step_seconds == pytest.approx(0.010, rel=1e-3)


def test_every_block_has_the_same_steps_for_all_arms_and_lasts_as_asked_on_the_slowest():
    machine = Machine(noise=0.01)
    timed = machine.time({"baseline": 0.010, "idea": 0.060}, block_seconds=0.3)
    assert timed.steps_per_block == 6  # 2 halves of .15 s / .06 s, rounded up
    assert machine.calls.count("idea") - 4 == 6 * timed.treatments["idea"].rounds
    assert machine.calls.count("baseline") == machine.calls.count("idea")


def test_a_step_longer_than_a_block_is_taken_twice_a_round():
    assert Machine().time({"baseline": 2.0, "idea": 2.0}).steps_per_block == 2


def test_each_round_goes_there_and_back_and_the_next_starts_with_another_arm():
    machine = Machine(noise=0.01)
    machine.time({"baseline": 1.0, "idea": 1.5, "other": 1.0}, n_max=3)
    order = [name for name in machine.calls[5 + 12 :] if name != "reference"]
    assert order[:6] == ["baseline", "idea", "other", "other", "idea", "baseline"]
    assert order[6:12] == ["idea", "other", "baseline", "baseline", "other", "idea"]


def test_a_decided_arm_is_no_longer_timed():
    machine = Machine(noise=0.02)
    timed = machine.time({"baseline": 0.010, "far": 0.030, "near": 0.01015})
    rounds = {name: row.rounds for name, row in timed.treatments.items()}
    assert rounds["far"] < rounds["near"] == timed.rounds
    assert len(timed.arms["far"].block_seconds) == rounds["far"]
    assert len(timed.arms["baseline"].block_seconds) == rounds["near"]


def test_a_round_beside_a_burst_of_other_load_is_measured_again():
    """Half a second at double slowness: the reference sees it, and the ratio does not."""
    machine = Machine(slowness=lambda now: 2.0 if 4.2 < now < 4.7 else 1.0)
    timed = machine.time({"baseline": 0.010, "idea": 0.010})
    assert timed.rejected_rounds["reference"] >= 1
    assert timed.reference.spread > 1.5
    assert not timed.busy
    assert timed.treatments["idea"].kind == "equal within 2 %"
    assert max(timed.arms["baseline"].block_seconds) < 0.33  # 32 steps of .01 s


def test_on_a_machine_that_stays_busy_nothing_is_claimed():
    rng = np.random.default_rng(1)
    machine = Machine(slowness=lambda now: rng.choice([1.0, 1.6]))
    timed = machine.time({"baseline": 0.010, "idea": 0.030})
    assert timed.busy
    assert timed.treatments["idea"].kind == "undecided"
    assert timed.rejected_rounds["reference"] == 6  # more than a third of 6 + 10


def test_after_two_bad_rounds_of_five_quiet_ones_must_show_that_the_machine_calmed_down():
    machine = Machine(slowness=lambda now: 1.5 if 3.3 < now < 4.5 else 1.0)
    machine.start_up = {"baseline": 3.0, "idea": 0.0}.get
    timed = machine.time({"baseline": 0.010, "idea": 0.020})
    n_rejected = sum(timed.rejected_rounds.values())
    assert n_rejected >= 2
    assert not timed.busy
    assert timed.rounds == max(3, 2 * n_rejected)
    assert timed.treatments["idea"].kind == "slower"


def test_equal_arms_on_a_drifting_machine_are_rarely_told_apart():
    """200 measurements of the same work: at the promised 5 %, more than 21 false verdicts come once in 1,000 times."""
    rng = np.random.default_rng(11)
    kinds = []
    for _ in range(200):
        drift, phase = rng.uniform(-0.02, 0.02), rng.uniform(0, 6)
        machine = Machine(noise=0, slowness=lambda now, d=drift, p=phase: 1 + d * now + 0.02 * math.sin(3 * now + p))
        machine.rng, machine.noise = rng, 0.01
        timed = machine.time({"baseline": 0.05, "idea": 0.05}, block_seconds=0.1)
        kinds.append(timed.treatments["idea"].kind)
    assert kinds.count("faster") + kinds.count("slower") <= 21
    assert kinds.count("equal within 2 %") > 100


def test_a_process_that_is_put_aside_is_noticed_by_its_processor_time():
    machine = Machine(processor=lambda now: 0.7)
    timed = machine.time({"baseline": 0.010, "idea": 0.010})
    assert timed.busy
    assert timed.rejected_rounds == {"reference": 0, "descheduled": 6}
    assert timed.arms["idea"].cpu_share == pytest.approx(0.7)


def test_where_steps_run_elsewhere_processor_time_is_not_read():
    timed = Machine(processor=lambda now: 0.1).time({"baseline": 0.010, "idea": 0.010}, cpu_clock=None)
    assert not timed.busy
    assert timed.arms["idea"].cpu_share is None


def test_work_that_a_step_only_started_is_waited_for():
    machine, pending = Machine(noise=0.01), []
    started = {"baseline": lambda: pending.append(0.010), "idea": lambda: pending.append(0.020)}

    def wait():
        machine.now += sum(pending) * math.exp(0.001 * machine.rng.standard_normal())
        pending.clear()

    instruments = machine.instruments(wait=wait, cpu_clock=None)
    timed = time_steps(started, Rule(margin=TIME_MARGIN), instruments)
    assert timed.treatments["idea"].ratio == pytest.approx(2.0, rel=0.01)


def test_a_system_that_does_not_tell_its_load_leaves_it_out():
    def load():
        raise OSError

    assert Machine().time({"baseline": 0.01, "idea": 0.02}, load=load).load_average == (None, None)


@pytest.mark.parametrize("seconds", [0.010, 0.011])
def test_times_come_back_from_their_json(seconds):
    timed = Machine().time({"baseline": 0.010, "idea": seconds})
    assert read_plain(MeasuredTimes, json.loads(json.dumps(to_plain(timed)))) == timed


V, T = 11, 4


class Net(nn.Module):
    """Next-token logits with all that a step may meet: dropout, an auxiliary loss, something to do after a step."""

    def __init__(self, vocab_size, width=8):
        super().__init__()
        self.table, self.drop, self.head = nn.Embedding(vocab_size, width), nn.Dropout(0.2), nn.Linear(width, V)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, tokens):
        return self.head(self.drop(self.table(tokens)))

    def aux(self):
        return {"size": 0.01 * self.table.weight.square().mean()}

    def after_step(self):
        self.steps += 1


class Tokens:
    vocab_size = V

    def batch(self, seed, step, batch_tokens, seq_len):
        rng = np.random.default_rng([seed, step])
        tokens = rng.integers(0, V, (batch_tokens // seq_len, seq_len + 1))
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])


RECIPE = Training(
    tokens=8 * 16,
    batch_tokens=16,
    micro_batch_tokens=8,
    seq_len=T,
    optimizer=spec(torch.optim.AdamW, lr=0.05),
    clip=0.1,
    evaluations=1,
)


def test_the_step_that_is_timed_is_the_step_that_trains_to_the_bit(tmp_path):
    torch.manual_seed(0)
    timed, trained = Net(V), Net(V)
    trained.load_state_dict(timed.state_dict())
    corpus = Tokens()
    step = make_step(timed, RECIPE, 3, corpus)
    for _ in range(RECIPE.steps):
        step()
    inputs, targets = corpus.batch(9, 9, 16, T)
    train(
        trained,
        RECIPE,
        seed=3,
        roles=roles(trained),
        batch=lambda number: corpus.batch(3, number, 16, T),
        held_out=HeldOut(inputs, targets, np.zeros_like(targets), np.full(len(targets), 4)),
        folder=tmp_path,
    )
    for name, value in trained.state_dict().items():
        assert torch.equal(value, timed.state_dict()[name]), name


def test_steps_beyond_the_recipe_go_on_with_its_last_rate_and_old_batches():
    model = Net(V)
    step = make_step(model, RECIPE, 0, Tokens())
    for _ in range(2 * RECIPE.steps):
        step()
    assert model.steps == 2 * RECIPE.steps


def make_study():
    return Study(
        question="Is a wider table slower?",
        baseline=spec(Net),
        treatments={"wide": spec(Net, width=64), "wider": spec(Net, width=128)},
        data=spec(Tokens),
        training=RECIPE,
        margin=0.1,
    )


def test_measuring_a_study_says_where_it_was_done_and_leaves_the_threads_as_they_were():
    threads, heard = torch.get_num_threads(), []
    measured = measure_times(
        make_study(), Tokens(), arms=["wide"], block_seconds=1e-4, most_rounds=3, observe=heard.append
    )
    assert set(measured.arms) == {"baseline", "wide"}
    assert measured.treatments["wide"].kind in ("faster", "slower", "equal within 2 %", "undecided")
    assert (measured.device, measured.threads) == ("cpu", 1)
    assert torch.get_num_threads() == threads
    assert {event["event"] for event in heard} == {"timing"}


def test_an_arm_that_the_study_does_not_have_is_refused():
    with pytest.raises(StudyError, match="no treatment 'long' to time; there is 'wide', 'wider'"):
        measure_times(make_study(), Tokens(), arms=["long"])
