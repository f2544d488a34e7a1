"""What the audits say of data of the user's own."""

import numpy as np
import pytest
from small_studies import BASELINE, make_study, of, promised, the, worst

from paribus.audits.before.text_leaks import find_foreign_vocabulary, find_leaked_text, require_bytes
from paribus.data import prepare
from paribus.design.metrics import VAL_BITS_PER_BYTE
from paribus.design.specs import spec
from paribus.errors import DataError
from paribus.nn import RMSNorm

STUDY = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm, eps=1e-5)))
OVERLAP = "train/validation overlap"


class Given:
    """A data set of the documents it is given."""

    def __init__(self, vocab_size, train, validation):
        self.vocab_size = vocab_size
        self.given = {"train": train, "validation": validation}

    def documents(self, side):
        return self.given[side]


@pytest.fixture(autouse=True)
def _cache(home):
    pass


def draw(count, length, vocab_size=16, seed=0):
    return list(np.random.default_rng(seed).integers(0, vocab_size, size=(count, length)))


def leaks(train, validation, vocab_size=16):
    return promised("before", list(find_leaked_text(STUDY, prepare(Given(vocab_size, train, validation)))))


def vocabulary(train, validation, vocab_size):
    return promised("before", list(find_foreign_vocabulary(STUDY, prepare(Given(vocab_size, train, validation)))))


def test_random_documents_share_no_passage():
    (found,) = leaks(draw(50, 60), draw(10, 60, seed=1))
    assert (found.check, found.severity) == (OVERLAP, "note")
    assert found.message.startswith("0.0% of the validation passages of 17 tokens")


def test_documents_too_short_for_a_passage_are_said_to_be():
    (found,) = leaks(draw(50, 6), draw(10, 6, seed=1))
    assert (
        found.message
        == "0 of the validation documents are as long as a passage of 17 tokens: passages were not compared"
    )


def test_one_long_copy_among_ten_documents_is_invalid_and_one_among_two_hundred_is_doubted():
    train = draw(50, 60)
    assert leaks(train, [train[3], *draw(9, 60, seed=1)])[0].severity == "invalid"
    rare = leaks(train, [train[3], *draw(199, 60, seed=1)])[0]
    assert (rare.severity, rare.evidence["duplicate_documents"]) == ("doubt", 1)


def test_short_documents_that_repeat_as_often_in_training_are_no_leak():
    few = leaks(draw(500, 3, 4), draw(50, 3, 4, seed=1), 4)  # 64 there are
    assert worst(few) == []
    assert few[0].evidence["duplicate_documents"] == 50
    assert "as many as chance makes" in few[0].message


def test_short_copies_that_training_itself_does_not_have_are_a_leak():
    train = [np.array([a, b]) for a in range(10) for b in range(10)]  # all different
    assert leaks(train, train[::10], 10)[0].severity == "invalid"


def test_a_few_near_copies_are_doubted_beside_many_clean_documents():
    train = draw(50, 60)
    near = [np.concatenate([train[i][:30], draw(1, 3, seed=9)[0], train[i][30:]]) for i in range(2)]
    found = [f for f in leaks(train, [*near, *draw(18, 60, seed=1)]) if f.severity == "doubt"]
    assert [f.message[:28] for f in found] == ["2 of the 20 validation docum"]


def with_ground(count, length, seed):
    """Documents of 300 equal tokens, of which ``length`` in the middle are drawn."""
    documents = np.zeros((count, 300), dtype=int)
    documents[:, 150 - length // 2 : 150 + length // 2] = np.random.default_rng(seed).integers(1, 16, (count, length))
    return list(documents)


def test_what_training_documents_share_with_each_other_is_no_leak():
    found = leaks(with_ground(200, 20, seed=0), with_ground(30, 20, seed=1))
    assert worst(found) == []
    (passages,) = (f for f in found if "passages of" in f.message)
    assert passages.evidence["excess"] == 0
    assert passages.evidence["shared_share"] > 0.15
    assert "of those of a training document" in passages.message


def test_the_excess_over_what_training_repeats_is_judged():
    ground, apart = with_ground(200, 20, seed=0), draw(200, 200, seed=2)
    mixed = [np.concatenate(pair) for pair in zip(ground, apart, strict=True)]
    pieces = np.array(apart).reshape(-1, 100)[np.random.default_rng(4).permutation(400)[:60]].reshape(30, 200)
    held_out = [np.concatenate(pair) for pair in zip(with_ground(30, 20, seed=1), pieces, strict=True)]
    severities = {f.severity for f in leaks(mixed, held_out)}
    assert severities & {"doubt", "invalid"}
    assert (
        worst(
            leaks(
                mixed, [np.concatenate(p) for p in zip(with_ground(30, 20, seed=5), draw(30, 200, seed=3), strict=True)]
            )
        )
        == []
    )


def test_altered_copies_on_both_sides_are_doubted_though_training_repeats_as_much():
    rng = np.random.default_rng(0)
    versions = np.repeat(np.array(draw(60, 200, 64)), 5, axis=0)
    for version in versions:
        version[rng.integers(0, 200, size=3)] = rng.integers(0, 64, size=3)
    order = rng.permutation(300)
    found = leaks(list(versions[order[40:]]), list(versions[order[:40]]), 64)
    assert [f.severity for f in found] == ["note", "doubt"]
    assert found[0].evidence["excess"] == 0


def test_windows_shorter_than_a_passage_are_told_by_where_they_go_on():
    tokens = draw(1, 3_000, 256)[0]
    windows = [tokens[i : i + 14] for i in range(0, 2_980, 4)]
    found = leaks([w for i, w in enumerate(windows) if i % 5], windows[::5], 256)
    assert [f.severity for f in found] == ["note", "invalid"]
    assert "windows that overlap in one text" in found[1].message


def test_a_vocabulary_made_of_all_text_is_doubted_and_a_large_ready_one_is_noted():
    train, validation = [list(range(90))] * 2, [[*range(50), *range(90, 95)]] * 2
    found = the("vocabulary", vocabulary(train, validation, 95))
    assert found.severity == "doubt"
    assert found.message == (
        "5 of the 55 ids on the validation side never occur in training, 9.1% of its tokens: "
        "a vocabulary made from all text"
    )
    rare = [[*range(50), *range(50), *range(90, 95)]] * 2  # 4.8 % of the tokens
    assert the("vocabulary", vocabulary(train, rare, 1_000)).severity == "note"
    assert the("vocabulary", vocabulary(train, validation, 1_000)).message.endswith("sides of different kinds")


def test_four_rare_letters_are_noted_and_none_is_nothing():
    train = [list(range(90))] * 2
    assert the("vocabulary", vocabulary(train, [[*range(50), *range(90, 94)]] * 2, 94)).severity == "note"
    assert vocabulary(train, [list(range(50))] * 2, 94) == []


def test_the_vocabulary_of_bytes_is_made_of_no_text(corpus):
    assert list(find_foreign_vocabulary(STUDY, corpus)) == []


def test_bits_per_byte_need_bytes(corpus):
    judged = STUDY.replace(metric=VAL_BITS_PER_BYTE)
    require_bytes(judged, corpus)
    require_bytes(STUDY, prepare(Given(16, draw(5, 9), draw(5, 9, seed=1))))
    with pytest.raises(DataError, match="no bits per byte to judge on"):
        require_bytes(judged, prepare(Given(16, draw(5, 9), draw(5, 9, seed=1))))


def test_findings_of_leaks_are_all_of_one_check():
    train = draw(50, 60)
    assert len(of(OVERLAP, leaks(train, train[:10]))) == 2
