from hypothesis import given
from hypothesis import strategies as st

from paribus.design.streams import derive

names = st.lists(st.text(max_size=6), max_size=3)


@given(st.integers(0, 2**31), names)
def test_a_stream_is_a_63_bit_number_that_depends_on_its_name_alone(seed, path):
    assert derive(seed, *path) == derive(seed, *path)
    assert 0 <= derive(seed, *path) < 2**63


@given(st.integers(0, 9), names, st.integers(0, 9), names)
def test_different_names_have_different_streams(seed, path, other_seed, other_path):
    same = (seed, path) == (other_seed, other_path)
    assert (derive(seed, *path) == derive(other_seed, *other_path)) == same


def test_names_do_not_run_into_each_other():
    assert derive(0, "ab", "c") != derive(0, "a", "bc")
    assert derive(1, "0") != derive(10)
