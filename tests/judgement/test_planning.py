import numpy as np
import pytest

from paribus.design.metrics import VAL_LOSS
from paribus.judgement.comparison import compare
from paribus.judgement.looks import Ending, replay
from paribus.judgement.pairs import Pair
from paribus.judgement.planning import plan_seeds
from paribus.judgement.rules import Rule
from paribus.judgement.verdicts import decide


@pytest.mark.parametrize(("mean", "margin"), [(-1.0, 1.0), (0.0, 0.9)])
def test_a_registration_of_the_planned_size_settles_it_and_a_smaller_one_does_not(mean, margin):
    """Fresh experiments, not those the plan was made on."""
    plan = plan_seeds(mean, 1.0, Rule(margin=margin))
    noise = np.random.default_rng(99).standard_normal((20_000, 20))

    def chance(n_max):
        endings, _ = replay(mean + noise[:, :n_max], Rule(margin=margin, n_max=n_max))
        return np.isin(endings, (Ending.EQUIVALENT, Ending.BETTER, Ending.WORSE)).mean()

    assert plan.by == "simulation"
    assert chance(plan.seeds) >= 0.8 - 0.03
    assert chance(plan.seeds - 2) < 0.8
    assert plan.chance == pytest.approx(chance(plan.seeds), abs=0.03)


def test_the_plan_is_the_same_every_time_and_in_either_direction():
    assert plan_seeds(-1.0, 1.0, Rule(margin=0.2)) == plan_seeds(-1.0, 1.0, Rule(margin=0.2))
    up, down = plan_seeds(1.0, 1.0, Rule(margin=0.2)), plan_seeds(-1.0, 1.0, Rule(margin=0.2))
    assert abs(up.seeds - down.seeds) <= 1


def test_beyond_one_registration_the_plan_extrapolates():
    """A fixed-sample z test at alpha .05 with 80 % power needs (1.96 + .84)^2 s^2 / d^2 = 196 pairs at d = s / 5."""
    plan = plan_seeds(0.2, 1.0, Rule(margin=0.0))
    assert plan.by == "extrapolation"
    assert 196 < plan.seeds < 2.2 * 196


def test_no_difference_and_no_margin_cannot_be_settled():
    assert plan_seeds(0.0, 1.0, Rule(margin=0.0)) is None


def test_an_undecided_comparison_says_what_would_settle_it():
    rng = np.random.default_rng(3)
    d = rng.standard_normal(10)
    d = (d - d.mean()) / d.std(ddof=1) - 0.6  # -.6 -+ .72 holds 0, and -.6 - .58 is below the margin
    pairs = [Pair(seed, 3.0, 3.0 + float(x)) for seed, x in enumerate(d)]
    found = compare("arm", pairs, Rule(margin=1.15, n_min=10, n_max=10), VAL_LOSS)
    verdict = decide(found)
    assert verdict.kind == "undecided"
    assert verdict.reasons == ("pairs used up",)
    assert f"within {found.outlook.seeds} pairs" in verdict.sentence
    assert 10 < found.outlook.seeds <= 20
