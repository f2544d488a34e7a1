import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.errors import TrainingError
from paribus.training import Constant, Cosine, Linear, WarmupStableDecay

schedules = st.sampled_from([Constant(), Cosine(), Linear(), WarmupStableDecay(), Cosine(0.2, 0.1), Linear(0.0, 0.5)])


@given(schedules, st.integers(20, 500))
def test_every_schedule_warms_up_then_never_rises(schedule, steps):
    factors = [schedule(step, steps) for step in range(steps)]
    warmup_steps = math.ceil(schedule.warmup * steps)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])
    assert all(b <= a + 1e-12 for a, b in zip(factors[warmup_steps:], factors[warmup_steps + 1 :], strict=False))
    assert max(factors) == 1


@given(st.sampled_from([Cosine, Linear, WarmupStableDecay]), st.floats(0, 1), st.integers(20, 500))
def test_a_decaying_schedule_reaches_its_floor_one_step_after_the_last(cls, floor, steps):
    assert cls(floor=floor)(steps, steps) == pytest.approx(floor)


def test_cosine_is_half_way_down_at_half_of_the_decay():
    assert Cosine(warmup=0.0)(50, 100) == pytest.approx(0.5)
    assert Cosine(warmup=0.0, floor=0.1)(50, 100) == pytest.approx(0.55)


def test_warmup_is_linear_in_steps():
    assert [Linear(warmup=0.04)(step, 100) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_warmup_stable_decay_holds_until_its_last_share():
    schedule = WarmupStableDecay(warmup=0.1, decay=0.2)
    assert [schedule(step, 100) for step in (10, 50, 80, 90)] == pytest.approx([1, 1, 1, 0.5])


@pytest.mark.parametrize(
    "make", [lambda: Cosine(warmup=1.0), lambda: Linear(floor=-0.1), lambda: WarmupStableDecay(decay=1)]
)
def test_shares_that_make_no_sense_are_refused(make):
    with pytest.raises(TrainingError):
        make()
