import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paribus.errors import DataError

steps = st.integers(0, 500)
quiet = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quiet
@given(seed=st.integers(0, 2**40), calls=st.lists(steps, min_size=1, max_size=5), step=steps)
def test_a_batch_depends_on_its_arguments_alone(counting, seed, calls, step):
    fresh, used = counting(5_000), counting(5_000)
    for call in calls:
        used.batch(seed, call, 64, 16)
        used.batch(seed + 1, call, 96, 32)
    for ours, theirs in zip(used.batch(seed, step, 64, 16), fresh.batch(seed, step, 64, 16), strict=True):
        assert (ours == theirs).all()


@quiet
@given(seed=st.integers(0, 1000), step=steps)
def test_targets_are_the_inputs_moved_on_by_one(counting, seed, step):
    inputs, targets = counting(5_000).batch(seed, step, 128, 32)
    assert inputs.shape == targets.shape == (4, 32) and inputs.dtype == targets.dtype == np.int64
    # A token tells its position in the text.
    assert (targets == inputs + 1).all() and (np.diff(inputs, axis=1) == 1).all()


@quiet
@given(seed=st.integers(0, 1000), n_tokens=st.integers(32, 2_000), rows=st.integers(1, 7), epoch=st.integers(0, 3))
def test_an_epoch_visits_each_window_once(counting, seed, n_tokens, rows, epoch):
    corpus, seq_len = counting(n_tokens), 16
    n_windows = corpus.n_windows(seq_len)
    first, last = epoch * n_windows, (epoch + 1) * n_windows  # windows, in the order in which they are drawn
    drawn = [corpus.batch(seed, step, rows * seq_len, seq_len)[1] for step in range(first // rows, -(-last // rows))]
    targets = np.concatenate(drawn)[first % rows :][:n_windows].ravel()
    assert len(set(targets.tolist())) == n_windows * seq_len == targets.max() - targets.min() + 1
    assert n_tokens - len(targets) < 2 * seq_len


def test_seeds_and_epochs_have_orders_and_offsets_of_their_own(counting):
    corpus = counting(4_000)
    n_windows = corpus.n_windows(16)
    batches = [corpus.batch(seed, epoch, n_windows * 16, 16)[0] for seed in (0, 1) for epoch in (0, 1)]
    orders = {tuple(np.argsort(batch[:, 0])) for batch in batches}
    offsets = {int(batch.min()) for batch in batches}
    assert len(orders) == 4 and len(offsets) > 1


def test_the_same_windows_come_whatever_the_batch_size(counting):
    corpus = counting(3_000)
    small = np.concatenate([corpus.batch(3, step, 32, 16)[0] for step in range(6)])
    assert (small == corpus.batch(3, 0, 192, 16)[0]).all()


def test_a_corpus_too_short_for_a_window_is_refused(counting):
    with pytest.raises(DataError, match=r"31 training tokens are too few for windows of seq_len 16; .* 32"):
        counting(31).batch(0, 0, 16, 16)


def test_a_batch_that_is_no_multiple_of_the_window_is_refused(counting):
    with pytest.raises(DataError, match="multiple of seq_len 16, got 40"):
        counting(500).batch(0, 0, 40, 16)


def test_a_side_that_is_not_there_is_refused_with_those_that_are(small):
    with pytest.raises(DataError, match="no side 'test'; there is train, validation, confirm"):
        small.side("test")
