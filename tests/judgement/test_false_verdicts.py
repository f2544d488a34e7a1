"""The count of benchmarks/false_verdicts.py: what an honest rule may say of comparisons without a difference."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import paribus as pb
from paribus.judgement.rules import Rule

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from false_verdicts import count_false_verdicts, shorten


@pytest.mark.parametrize(("n", "allowed"), [(50, 8), (100, 13), (200, 21)])
def test_one_count_in_a_thousand_exceeds_what_is_allowed(n, allowed):
    counted = count_false_verdicts(np.zeros((n, 10)), Rule(margin=1.0))
    assert counted["allowed"] == allowed
    assert stats.binom.sf(allowed, n, 0.05) <= 0.001 < stats.binom.sf(allowed - 1, n, 0.05)


def test_honest_nulls_stay_within_what_is_allowed():
    nulls = np.random.default_rng(5).standard_normal((200, 10))
    counted = count_false_verdicts(nulls, Rule(margin=1.0))
    assert (counted["comparisons"], counted["open"], counted["holds"]) == (200, 0, True)
    assert 1 <= counted["false_at_zero"] <= 21


def test_nulls_that_differ_after_all_are_found():
    nulls = np.random.default_rng(5).standard_normal((50, 10)) + 1.5
    counted = count_false_verdicts(nulls, Rule(margin=1.0))
    assert counted["false_at_zero"] > counted["allowed"]
    assert not counted["holds"]


def test_nulls_with_too_few_pairs_are_open():
    counted = count_false_verdicts([[0.1, -0.1], [0.0, 0.0, 0.0], [-1.0, -1.1, -1.2]], Rule(margin=0.5))
    assert (counted["open"], counted["false_at_zero"], counted["false_at_margin"]) == (1, 1, 1)


@pytest.mark.parametrize(("averaged", "kept"), [(0.0, 0.0), (0.1, 0.0), (0.25, 0.25)])
def test_a_shortened_study_averages_weights_where_two_steps_are_left(averaged, kept):
    study = pb.Study(
        question="Is it the same?",
        baseline=(small := pb.nn.llama(d_model=16, n_layers=1, n_heads=2)),
        treatments={"rms": small.replace("*norm", pb.spec(pb.nn.LayerNorm))},
        data=pb.spec(pb.data.Text, source="stdlib"),
        training=pb.Training(
            tokens=100 * 64,
            batch_tokens=64,
            seq_len=16,
            evaluations=1,
            averaged=averaged,
            optimizer=pb.spec(pb.training.MuonAdamW),
        ),
        margin=0.05,
    )
    short = shorten(study).training
    assert (short.steps, short.averaged) == (10, kept)
