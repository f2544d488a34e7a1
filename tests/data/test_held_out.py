import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_documents import write_documents

from paribus.data.held_out import IGNORED, Side, choose_windows, share_windows
from paribus.data.preparation import prepare
from paribus.data.text import Text
from paribus.data.tokenizer import BPE, Bytes
from paribus.errors import DataError

SEPARATOR = 999


def make_side(lengths):
    """A side whose tokens count from zero; each document ends with a separator that stands for no byte."""
    ends = np.cumsum(lengths)
    tokens = np.arange(ends[-1])
    n_bytes = np.full(ends[-1], 3)
    tokens[ends - 1], n_bytes[ends - 1] = SEPARATOR, 0
    return Side("validation", tokens, ends, n_bytes)


def test_windows_of_a_small_side_are_those_written_by_hand():
    evaluation = choose_windows(make_side([5, 3]), seq_len=2, max_tokens=100, separator=SEPARATOR)
    # Document 0 is 0 1 2 3 | and document 1 is 5 6 |; the last piece of each is not full.
    assert evaluation.inputs.tolist() == [[SEPARATOR, 0], [1, 2], [SEPARATOR, 5]]
    assert evaluation.targets.tolist() == [[0, 1], [2, 3], [5, 6]]
    assert evaluation.documents.tolist() == [[0, 0], [0, 0], [1, 1]]
    assert evaluation.document_tokens.tolist() == [4, 2]
    assert evaluation.document_bytes.tolist() == [12, 6]
    assert (evaluation.n_documents, evaluation.n_tokens, evaluation.window_bytes.sum()) == (2, 6, 18)


def test_the_digest_is_over_the_windows_and_the_bytes_of_the_documents():
    evaluation = choose_windows(make_side([5, 3]), seq_len=2, max_tokens=100, separator=SEPARATOR)
    said = hashlib.sha256(b"(3, 2)")
    for array in (evaluation.inputs, evaluation.targets, evaluation.documents, np.array([12, 6])):
        said.update(array.astype("<i8").tobytes())
    assert evaluation.digest == said.hexdigest()


def test_a_document_shorter_than_a_window_is_padded():
    evaluation = choose_windows(make_side([3, 2]), seq_len=4, max_tokens=100, separator=SEPARATOR)
    assert evaluation.inputs.tolist() == [[SEPARATOR, 0, 1, SEPARATOR], [SEPARATOR, 3, SEPARATOR, SEPARATOR]]
    assert evaluation.targets.tolist() == [[0, 1, SEPARATOR, IGNORED], [3, SEPARATOR, IGNORED, IGNORED]]
    assert evaluation.document_tokens.tolist() == [3, 2] and evaluation.document_bytes.tolist() == [6, 3]


def test_a_documents_windows_are_spread_over_it():
    # Document 0 has ten pieces of two tokens and three windows: pieces 0, 10/3 and 20/3.
    evaluation = choose_windows(make_side([20, 20]), seq_len=2, max_tokens=12, separator=SEPARATOR)
    assert evaluation.targets[:3].tolist() == [[0, 1], [6, 7], [12, 13]]
    assert evaluation.document_tokens.tolist() == [6, 6]


def test_more_documents_than_windows_give_one_window_each():
    evaluation = choose_windows(make_side([10] * 8), seq_len=4, max_tokens=20, separator=SEPARATOR)
    assert evaluation.n_documents == 5 and evaluation.document_tokens.tolist() == [4] * 5


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 120))
def test_windows_are_shared_as_dealing_them_one_by_one_would(pieces, n_windows):
    quota = np.zeros(len(pieces), dtype=int)
    while quota.sum() < min(n_windows, sum(pieces)):  # deal to the document that has least and can use one
        open_to_more = [i for i in range(len(pieces)) if quota[i] < pieces[i]]
        quota[min(open_to_more, key=lambda i: (quota[i], i))] += 1
    assert share_windows(np.array(pieces), n_windows).tolist() == quota.tolist()


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=10), st.integers(1, 9), st.integers(18, 200))
def test_no_window_holds_two_documents_and_no_token_is_scored_twice(lengths, seq_len, max_tokens):
    side = make_side(lengths)
    evaluation = choose_windows(side, seq_len, max_tokens, SEPARATOR)
    scored = evaluation.targets != IGNORED
    assert scored.sum() == evaluation.n_tokens <= max_tokens
    plain = evaluation.targets[scored & (evaluation.targets != SEPARATOR)]
    assert len(set(plain.tolist())) == len(plain)
    for row, documents in zip(evaluation.targets, evaluation.documents, strict=True):
        owners = {int(np.searchsorted(side.ends, token, side="right")) for token in row if 0 <= token < SEPARATOR}
        assert len(owners) <= 1 and len(set(documents.tolist())) == 1
    assert evaluation.document_tokens.min() > 0


@pytest.mark.parametrize("tokenizer", [Bytes(), BPE(300)])
def test_the_scored_tokens_are_the_held_out_text(jsonl, tokenizer):
    documents = [f"{text} — näïve {i} 漢字 🙂" for i, text in enumerate(write_documents(40))]
    corpus = prepare(Text(jsonl(documents), tokenizer=tokenizer))
    evaluation = corpus.evaluation(seq_len=1, max_tokens=10**9)
    scored = corpus.decode(evaluation.targets.ravel()).removesuffix("\n\n").split("\n\n")
    assert set(scored) < set(documents) and len(scored) == evaluation.n_documents == 4
    assert evaluation.document_bytes.tolist() == [len(text.encode()) for text in scored]
    confirm = corpus.evaluation(1, 10**9, side="confirm")
    assert not set(corpus.decode(confirm.targets.ravel()).split("\n\n")) & set(scored) - {""}


def test_the_same_windows_come_again_and_other_lengths_have_another_digest(small):
    first, again, other = small.evaluation(16, 320), small.evaluation(16, 320), small.evaluation(8, 320)
    assert (first.targets == again.targets).all() and first.digest == again.digest != other.digest


def test_room_for_one_window_is_refused(small):
    with pytest.raises(DataError, match="max_tokens 31 leaves room for fewer than 2 windows of seq_len 16"):
        small.evaluation(16, 31)


def test_one_document_is_refused():
    with pytest.raises(DataError, match="has 1 documents, expected at least 2"):
        choose_windows(make_side([30]), 4, 100, SEPARATOR)


def test_the_training_side_is_not_scored(small):
    with pytest.raises(DataError, match="train side is not held out"):
        small.evaluation(16, 320, side="train")
