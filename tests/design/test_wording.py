import pytest

from paribus.design.wording import list_some, suggest, write_count


@pytest.mark.parametrize(
    ("n", "thing", "said"),
    [
        (1, "place", "1 place"),
        (0, "place", "0 places"),
        (1, "auxiliary loss", "1 auxiliary loss"),
        (2, "auxiliary loss", "2 auxiliary losses"),
        (1234, "token", "1,234 tokens"),
    ],
)
def test_one_thing_is_counted_in_the_singular(n, thing, said):
    assert write_count(n, thing) == said


def test_four_things_are_all_listed_and_of_five_the_last_is_counted():
    assert list_some("abcd") == "a, b, c, d"
    assert list_some("abcde") == "a, b, c, d, and 1 more"
    assert list_some(range(5), shown=2) == "0, 1, and 3 more"


def test_the_site_without_a_path_is_the_model():
    assert list_some(["", "head"]) == "model, head"


def test_a_name_that_is_not_known_is_followed_by_the_nearest_or_by_what_there_is():
    assert suggest("epz", ["dim", "eps"]) == "did you mean 'eps'?"
    assert suggest(3, ["dim", "eps"]) == "there is 'dim', 'eps'"
    assert suggest("eps", []) == "there is none"
    assert suggest("zzz", ["dim"], otherwise="name a file") == "name a file"
    assert suggest("zzz", [f"layer {i}" for i in range(20)]).endswith("'layer 11', and 8 more")
