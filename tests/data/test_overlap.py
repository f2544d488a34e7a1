import math

import numpy as np
import pytest
from random_documents import write_documents

from paribus.data.overlap import (
    choose_length,
    measure_overlap,
    measure_repetition,
    measure_vocabulary,
    measure_windows,
    rare_length,
)
from paribus.data.preparation import prepare
from paribus.data.text import Text
from paribus.data.tokenizer import Bytes


def test_overlap_counts_what_comparing_sets_of_strings_counts(small):
    found = measure_overlap(small, n=12)
    train = documents(small, "train")
    known = {text[i : i + 12] for text in train for i in range(len(text) - 11)}
    for name in ("validation", "confirm"):
        side = documents(small, name)
        runs = [[text[i : i + 12] in known for i in range(len(text) - 11)] for text in side]
        facts = found["sides"][name]
        assert facts["ngrams"] == sum(map(len, runs))
        assert facts["shared_ngrams"] == sum(map(sum, runs)) > 0
        assert facts["worst_document_share"] == max(sum(run) / len(run) for run in runs)
        assert facts["duplicate_documents"] == 0


def test_a_held_out_document_inside_a_training_document_is_found(jsonl):
    # Each short document is quoted whole by one long document, which five-word shingles keep apart.
    short = write_documents(40, words=30)
    long = [f"{' '.join(write_documents(1, words=300, seed=i + 50))} {text}" for i, text in enumerate(short)]
    corpus = prepare(Text(jsonl(short + long), tokenizer=Bytes()))
    found = measure_overlap(corpus)["sides"]
    quoted = {
        name: sum(text in other for text in documents(corpus, name) for other in documents(corpus, "train"))
        for name in found
    }
    assert {name: facts["mostly_shared_documents"] for name, facts in found.items()} == quoted
    assert sum(quoted.values()) > 0


def test_unrelated_documents_share_nothing_of_fifty_bytes(small):
    found = measure_overlap(small)
    assert found["n"] == 51  # 50 bytes, and a separator a document
    assert [facts["shared_ngrams"] for facts in found["sides"].values()] == [0, 0]


def documents(corpus, side):
    return corpus.decode(corpus.side(side).tokens).removesuffix("\n\n").split("\n\n")


class Given:
    """A data set of the documents it is given."""

    def __init__(self, vocab_size, train, validation, decodes=False):
        self.vocab_size = vocab_size
        self.given = {"train": train, "validation": validation}
        if decodes:
            self.decode = lambda ids: "".join(chr(97 + i) for i in ids)

    def documents(self, side):
        return self.given[side]


def draw(count, length, vocab_size=16, seed=0):
    """Documents of uniform random tokens."""
    return list(np.random.default_rng(seed).integers(0, vocab_size, size=(count, length)))


def test_runs_that_hold_sixty_four_bits_are_rare():
    even = [np.arange(16)] * 2  # 4 bits a token
    assert rare_length(prepare(Given(16, even, even))) == 16
    coin = [np.array([0, 1])] * 2  # 1 bit a token
    assert rare_length(prepare(Given(2, coin, coin))) == 64
    biased = [np.array([0, 0, 0, 1])] * 2  # 2 - 3/4 log2 3 = 0.811 bits a token
    assert rare_length(prepare(Given(2, biased, biased))) == 79


def test_a_data_set_of_one_token_has_no_rare_run():
    same = [np.zeros(50, dtype=int)] * 2
    assert rare_length(prepare(Given(2, same, same))) == 10_000


def test_a_passage_is_sixteen_tokens_without_bytes_and_fifty_bytes_with_them_or_longer_where_chance_repeats():
    assert choose_length(prepare(Given(999, draw(20, 40, 999), draw(4, 40, 999, seed=1)))) == 16
    assert choose_length(prepare(Given(16, draw(20, 49), draw(4, 49, seed=1), decodes=True))) == 52  # 50 * 50 / 49
    assert choose_length(prepare(Given(2, draw(20, 49, 2), draw(4, 49, 2, seed=1), decodes=True))) > 60


def test_copies_are_counted_and_the_share_of_training_that_repeats():
    train, other = draw(9, 40), draw(3, 40, seed=1)
    corpus = prepare(Given(16, [*train, train[0], train[0]], [train[5], *other]))
    found = measure_overlap(corpus)
    assert found["train_repeats"] == 3 / 11
    facts = found["sides"]["validation"]
    assert (facts["documents"], facts["duplicate_documents"], facts["long_duplicates"]) == (4, 1, 1)
    assert facts["shared_share"] == 1 / 4
    assert set(found["sides"]) == {"validation"}


def test_the_example_is_a_passage_of_both_sides_as_text_where_it_can_be_decoded():
    train = draw(9, 60)
    held_out = [train[5], *draw(2, 60, seed=1)]
    ids = measure_overlap(prepare(Given(16, train, held_out)))["sides"]["validation"]["example"]
    assert " ".join(map(str, ids)) in " ".join(map(str, train[5]))
    text = measure_overlap(prepare(Given(16, train, held_out, decodes=True)))["sides"]["validation"]["example"]
    assert text in "".join(chr(97 + i) for i in train[5])
    apart = measure_overlap(prepare(Given(16, train, draw(2, 60, seed=1))))
    assert apart["sides"]["validation"]["example"] is None


def test_windows_that_overlap_in_one_text_go_on_where_others_stop():
    tokens = draw(1, 2_000)[0]
    windows = [tokens[i : i + 40] for i in range(0, 1_960, 10)]
    corpus = prepare(Given(16, windows[::2] + windows[1::4], windows[3::4]))
    found = measure_windows(corpus, "validation")
    # 49 held-out windows; each begins 10 tokens into a training window, of which the last 30 agree.
    assert found == {"documents": 49, "continuing": 49, "length": rare_length(corpus)}


def test_windows_side_by_side_and_random_documents_go_on_nowhere():
    tokens = draw(1, 2_000)[0]
    windows = [tokens[i : i + 40] for i in range(0, 2_000, 40)]
    assert measure_windows(prepare(Given(16, windows[::2], windows[1::2])), "validation")["continuing"] == 0


def test_windows_of_another_length_are_found_inside_longer_ones():
    tokens = draw(1, 2_000)[0]
    long = [tokens[i : i + 100] for i in range(0, 1_900, 100)]
    short = [tokens[i + 37 : i + 67] for i in range(0, 1_900, 100)]
    found = measure_windows(prepare(Given(16, long, short)), "validation")
    assert (found["documents"], found["continuing"]) == (19, 19)


def test_documents_that_begin_alike_are_no_windows():
    header = draw(1, 20, seed=7)[0]
    train = [np.concatenate([header, body]) for body in draw(20, 20)]
    held_out = [np.concatenate([header, body]) for body in draw(5, 20, seed=1)]
    assert measure_windows(prepare(Given(16, [*train, header], held_out)), "validation")["continuing"] == 0


def test_a_pattern_too_short_to_be_rare_is_not_looked_for():
    copies = [np.tile(digits, 2) for digits in draw(200, 4, 4)]
    assert measure_windows(prepare(Given(4, copies, copies[:5])), "validation")["documents"] == 0


def test_training_shares_with_itself_what_comparing_sets_of_strings_counts():
    train, held_out = draw(60, 30, 3), draw(7, 30, 3, seed=1)
    n = 5
    found = measure_repetition(prepare(Given(3, [*train, train[4]], held_out)), "validation", n)
    runs = [[tuple(ids[i : i + n]) for i in range(26)] for ids in train]  # the copy is no other document
    others = [{run for j, of in enumerate(runs) if j != i for run in of} for i in range(60)]
    shared = [sum(run in others[i] for run in of) / 26 for i, of in enumerate(runs)]
    assert 0.5 < np.mean(shared) < 1
    assert found["train_shared_share"] == pytest.approx(np.mean(shared))
    # Documents of equal length: the standard error of a difference of two means, 60 and 7 of them.
    expected = np.mean(shared) + 3 * np.std(shared) * math.sqrt(1 / 60 + 1 / 7)
    assert found["by_chance"] == pytest.approx(min(1, expected))


def test_random_documents_share_with_training_what_training_shares_with_itself():
    for seed in range(20):
        train, held_out = draw(200, 60, 4, seed), draw(40, 60, 4, seed + 100)
        corpus = prepare(Given(4, train, held_out))
        share = measure_overlap(corpus, 6)["sides"]["validation"]["shared_share"]
        assert 0.5 < share <= measure_repetition(corpus, "validation", 6)["by_chance"]


def test_a_near_copy_has_one_partner_and_common_passages_are_none():
    train, ground = draw(100, 60), draw(1, 200, seed=5)[0]
    altered = train[3].copy()
    altered[20] = (altered[20] + 1) % 16  # 40 tokens beside it, 39 - 16 of the 44 runs of 17
    found = measure_repetition(prepare(Given(16, train, [altered, *draw(9, 60, seed=1)])), "validation", 17)
    assert (found["documents"], found["near_copies"], found["train_shared_share"]) == (10, 1, 0)
    with_ground = [np.concatenate([ground, ids]) for ids in train]
    held_out = [np.concatenate([ground, ids]) for ids in draw(10, 60, seed=1)]
    found = measure_repetition(prepare(Given(16, with_ground, held_out)), "validation", 17)
    assert found["near_copies"] == 0
    assert found["train_shared_share"] == pytest.approx(
        184 / 244, abs=0.01
    )  # runs inside the ground, and by chance one more


def test_half_of_the_passages_from_two_documents_each_is_no_near_copy():
    train = draw(100, 60)
    halves = [np.concatenate([train[i][:30], train[i + 1][:30]]) for i in range(0, 20, 2)]
    assert measure_repetition(prepare(Given(16, train, halves)), "validation", 17)["near_copies"] == 0


def test_equal_training_documents_are_one_for_the_passages_they_share():
    found = measure_repetition(prepare(Given(16, draw(40, 60) * 3, draw(9, 60, seed=1))), "validation", 17)
    assert found["train_shared_share"] == 0


@pytest.mark.parametrize(("vocab_size", "window"), [(2, 128), (4, 64), (16, 40), (16, 512), (256, 16), (5000, 300)])
@pytest.mark.parametrize("part", [0, 4, 2])  # a stride of one, a quarter, a half window
def test_windows_at_any_stride_up_to_a_half_go_on(vocab_size, window, part):
    tokens = draw(1, 12_000, vocab_size)[0]
    stride = window // part if part else 1
    windows = [tokens[i : i + window] for i in range(0, len(tokens) - window, stride)][:2_000]
    order = np.random.default_rng(3).permutation(len(windows))
    held_out = len(windows) // 8
    given = Given(vocab_size, [windows[i] for i in order[held_out:]], [windows[i] for i in order[:held_out]])
    found = measure_windows(prepare(given), "validation")
    assert found["continuing"] > 0.6 * found["documents"] > 0


def test_pictures_that_begin_and_end_in_empty_ground_go_on_nowhere():
    def picture(rng):
        ground = np.zeros((24, 24), dtype=int)
        for _ in range(2):
            (y, x), (h, w) = rng.integers(0, 16, size=2), rng.integers(3, 9, size=2)
            ground[y : y + h, x : x + w] = rng.integers(1, 4)
        return ground.ravel()

    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        corpus = prepare(Given(4, [picture(rng) for _ in range(300)], [picture(rng) for _ in range(40)]))
        found = measure_windows(corpus, "validation")
        shares.append(found["continuing"] / 40)
    assert max(shares) <= 0.15


def test_ids_that_training_lacks_are_counted():
    corpus = prepare(Given(10, [[0, 1, 2], [1, 2]], [[0, 3, 3], [1, 4]]))
    found = measure_vocabulary(corpus, "validation")
    assert found == {
        "ids": 4,
        "unseen_ids": 2,
        "unseen_share": 0.5,
        "unseen_tokens_share": 3 / 5,
        "used_share": 5 / 10,
    }
