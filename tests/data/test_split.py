import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_documents import WORDS, write_documents

from paribus.data.split import SIDES, _shingles, _signatures, group_duplicates, jaccard, normalise, split_documents
from paribus.errors import DataError


def edit(text, places, seed=1):
    """``text`` with the words at ``places`` replaced."""
    words = text.split()
    rng = random.Random(seed)
    for place in places:
        words[place] = rng.choice(WORDS) + "q"
    return " ".join(words)


def brute_force_groups(texts, similarity):
    """Groups by comparing all pairs of plain sets of word 5-tuples."""
    sets = [{tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in map(str.split, texts)]
    label = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= similarity:
                old, new = label[i], label[j]
                label = [new if value == old else value for value in label]
    return {frozenset(i for i in range(len(texts)) if label[i] == value) for value in label}


def test_jaccard_is_intersection_over_union():
    assert jaccard(np.array([1, 2, 3]), np.array([2, 3, 4])) == 2 / 4
    assert jaccard(np.array([1]), np.array([2])) == 0


def test_normalisation_ignores_case_white_space_and_width():
    assert normalise("  The\tCAT\n\n sat ") == "the cat sat"
    assert normalise("\uff21\uff22\uff23 straße") == "abc strasse"


def test_documents_equal_after_normalisation_are_exact_duplicates():
    texts = [*write_documents(20), "One more  document, here.", "one MORE document,\nhere."]
    split = split_documents(texts)
    assert split.exact == 1 and split.near == 0
    assert split.sides[-1] == split.sides[-2]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 199), max_size=3))
def test_a_near_duplicate_stays_on_the_side_of_its_original(seed, places):
    # Three edits of 196 shingles leave at least (196 - 15) / (196 + 15) = .86 in common.
    texts = write_documents(20, words=200, seed=seed)
    split = split_documents([*texts, *(edit(text, places) for text in texts)])
    assert (split.sides[:20] == split.sides[20:]).all()
    assert (split.groups[:20] == split.groups[20:]).all()


def test_groups_are_those_that_comparing_all_pairs_finds():
    # The similarities lie clear of .7: two edits give .90, none .02.
    texts = write_documents(30, words=200)
    texts += [edit(text, [50, 120], seed=i) for i, text in enumerate(texts[:10])]
    texts += write_documents(5, words=200, seed=9)
    keys = [str(i) for i in range(len(texts))]
    groups, exact, near = group_duplicates(texts, keys, 0.7)
    found = {frozenset(np.flatnonzero(groups == group).tolist()) for group in groups}
    assert found == brute_force_groups(texts, 0.7)
    assert (exact, near) == (0, 10)


def test_near_duplicates_of_near_duplicates_are_one_group():
    first = write_documents(1, words=200)[0]
    chain = [first]
    for step in range(6):
        chain.append(edit(chain[-1], range(step * 30, step * 30 + 8)))
    groups, _, near = group_duplicates(chain, [str(i) for i in range(7)], 0.8)
    assert len(set(groups.tolist())) == 1 and near == 6


def test_minhash_estimates_the_jaccard_similarity():
    # A share s of 128 independent positions agrees: the standard error is sqrt(s (1 - s) / 128).
    text = write_documents(1, words=2_000)[0]
    other = edit(text, range(0, 2_000, 25))
    sets = list(_shingles(iter([text, other])))
    truth = jaccard(*sets)
    left, right = _signatures(dict(enumerate(sets)))
    assert abs((left == right).mean() - truth) < 4 * np.sqrt(truth * (1 - truth) / 128)


@settings(deadline=None, max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_does_not_matter_to_the_split(rng):
    texts = write_documents(40)
    texts += [edit(text, [7]) for text in texts[:5]]
    side_of = dict(zip(texts, split_documents(texts).sides, strict=True))
    rng.shuffle(texts)
    assert dict(zip(texts, split_documents(texts).sides, strict=True)) == side_of


def test_fractions_are_met_to_the_document_when_documents_are_equally_long():
    split = split_documents([f"{i:03}{text[:500]}" for i, text in enumerate(write_documents(100, words=150))])
    assert {side: len(split.members(side)) for side in SIDES} == {"train": 80, "validation": 10, "confirm": 10}


def test_without_a_confirmation_fraction_nothing_is_held_back():
    split = split_documents(write_documents(50), 0.2, 0.0)
    assert split.members("confirm") == [] and len(split.members("validation")) == 10


def test_a_document_of_half_the_corpus_stays_in_training():
    texts = [" ".join(write_documents(60, seed=5)), *write_documents(60)]
    assert split_documents(texts).sides[0] == SIDES.index("train")


def test_five_documents_are_just_enough():
    sides = split_documents(write_documents(5)).sides
    assert np.bincount(sides).tolist() == [1, 2, 2]


@pytest.mark.parametrize("texts", [write_documents(4), write_documents(1) * 50], ids=["four", "copies"])
def test_too_few_documents_are_refused_with_their_number(texts):
    with pytest.raises(DataError, match=f"{len(texts)} documents in .* too few to hold 2 out"):
        split_documents(texts)


def test_a_sides_documents_come_in_the_order_of_their_hashes():
    split = split_documents(write_documents(40))
    keys = [split.keys[index] for index in split.members("train")]
    assert keys == sorted(keys) and len(keys) > 30
