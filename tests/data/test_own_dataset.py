import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import paribus as pb
from paribus.data import prepare
from paribus.data.own_dataset import read_dataset
from paribus.errors import DataError
from paribus.execution.trained import prepare_data

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


class Numbers:
    """Documents as they are given, by side."""

    def __init__(self, vocab_size=10, **more):
        self.vocab_size = vocab_size
        self.given = {"train": [[1, 2, 3], [4, 5]], "validation": [[6, 7], [8, 9, 8]]}
        for name, value in more.items():
            if name in ("train", "validation", "confirm"):
                self.given[name] = value
            else:
                setattr(self, name, value)

    def documents(self, side):
        return self.given[side]


class Letters(Numbers):
    def decode(self, ids):
        return "".join("abcdefghié"[i] for i in ids)


class SpacedWords(Numbers):
    def decode(self, ids):
        return " ".join("word"[: 1 + i % 4] for i in ids)


def split_at(side, separator):
    """The documents of a side, each without its separator."""
    starts = [0, *side.ends[:-1].tolist()]
    for start, end in zip(starts, side.ends.tolist(), strict=True):
        assert side.tokens[end - 1] == separator
        yield tuple(side.tokens[start : end - 1].tolist())


def test_a_data_set_is_kept_token_for_token_with_one_id_more_for_the_separator():
    corpus = prepare(Numbers())
    assert (corpus.vocab_size, corpus.separator, corpus.title) == (11, 10, "Numbers")
    assert set(split_at(corpus.side("train"), 10)) == {(1, 2, 3), (4, 5)}
    assert set(split_at(corpus.side("validation"), 10)) == {(6, 7), (8, 9, 8)}
    assert corpus.manifest["sides"]["train"] | {"files": 0} == {"documents": 2, "tokens": 7, "bytes": None, "files": 0}


def test_a_separator_of_its_own_adds_no_id():
    corpus = prepare(Numbers(separator=0))
    assert (corpus.vocab_size, corpus.separator) == (10, 0)
    assert set(split_at(corpus.side("train"), 0)) == {(1, 2, 3), (4, 5)}


def test_what_is_prepared_once_is_opened_again_and_other_tokens_are_another_corpus():
    first, again, other = prepare(Numbers()), prepare(Numbers()), prepare(Numbers(train=[[1, 2, 3], [4, 6]]))
    assert first.folder == again.folder != other.folder
    assert first.digest == again.digest != other.digest


def test_the_order_of_documents_does_not_matter():
    turned = prepare(Numbers(train=[[4, 5], [1, 2, 3]], validation=[[8, 9, 8], [6, 7]]))
    assert turned.digest == prepare(Numbers()).digest


def test_batches_and_held_out_windows_are_drawn_as_from_text():
    rng = np.random.default_rng(0)
    corpus = prepare(Numbers(train=[rng.integers(0, 10, size=50) for _ in range(20)]))
    inputs, targets = corpus.batch(seed=0, step=0, batch_tokens=32, seq_len=8)
    assert inputs.shape == targets.shape == (4, 8)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    evaluation = corpus.evaluation(seq_len=4, max_tokens=8)
    assert sorted(row[row >= 0].tolist() for row in evaluation.targets) == [[6, 7, 10], [8, 9, 8, 10]]
    assert evaluation.n_tokens == 7


def test_lists_arrays_and_tensors_are_the_same_documents():
    arrays = Numbers(train=[np.array([1, 2, 3], dtype=np.uint8), torch.tensor([4, 5])])
    assert prepare(arrays).digest == prepare(Numbers()).digest


def test_bytes_are_those_of_the_decoded_text_and_a_separator_has_none():
    corpus = prepare(Letters())  # "gh" and "iéi": 2 and 4 bytes
    evaluation = corpus.evaluation(seq_len=4, max_tokens=8)
    assert sorted(evaluation.document_bytes.tolist()) == [2, 4]
    assert evaluation.window_bytes.sum() == 6
    assert corpus.decode([0, 1, 10, 2]) == "ab\n\nc"


def test_bytes_of_words_with_spaces_between_them_add_up_to_those_of_the_document():
    words = read_dataset(SpacedWords(validation=[[0, 1, 2, 3], [3, 3]]))  # "w wo wor word", "word word"
    assert sorted(int(ids.sum()) for ids in words.n_bytes["validation"]) == [9, 13]


def test_without_decode_there_are_no_bytes_and_nothing_can_be_decoded():
    corpus = prepare(Numbers())
    assert corpus.evaluation(seq_len=4, max_tokens=8).window_bytes is None
    with pytest.raises(DataError, match=r"no decode\(ids\)"):
        corpus.decode([1])
    with pytest.raises(DataError, match="has no encoder"):
        corpus.encoder  # noqa: B018


def test_documents_held_back_for_confirmation_are_a_side_where_the_class_says_so():
    sides = ("train", "validation", "confirm")
    corpus = prepare(Numbers(confirm=[[1, 1], [2, 2]], sides=sides))
    assert corpus.evaluation(seq_len=4, max_tokens=8, side="confirm").n_documents == 2
    with pytest.raises(DataError, match=r"has no side 'confirm'.*give it by sides"):
        prepare(Numbers()).evaluation(seq_len=4, max_tokens=8, side="confirm")
    with pytest.raises(DataError, match="all documents of 'confirm' are documents of 'validation'"):
        prepare(Numbers(confirm=[[6, 7], [8, 9, 8]], sides=sides))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": [[1, 10]]}, r"document 0 of Numbers.documents\('train'\) holds the id 10, expected 0 to 9"),
        ({"train": [[1, 2], [-1, 2]]}, "document 1 .* holds the id -1"),
        ({"train": [[1.0, 2.0]]}, "holds float64, expected whole numbers"),
        ({"train": [[True, False]]}, "holds bool, expected whole numbers"),
        ({"train": [["a", "b"]]}, "holds <U1, expected whole numbers"),
        ({"train": [np.zeros((2, 3), dtype=int)]}, r"has shape \(2, 3\), expected one dimension"),
        (
            {"train": ["37293"]},
            r"document 0 of .* is the str '37293', expected token ids; paribus.data.Text reads text",
        ),
        ({"train": [[1, 2], None]}, "document 1 of .* is None, expected a list or an array of token ids"),
        ({"train": [37]}, "document 0 of .* is the int 37, expected a list"),
        ({"train": [[1, 2], [3]]}, "document 1 .* has 1 tokens, expected at least 2"),
        ({"train": []}, "has 0 documents, expected at least 1"),
        ({"validation": [[1, 2]]}, r"documents\('validation'\) has 1 documents, expected at least 2"),
        ({"train": [[1, [2, 3]]]}, "is no array"),
        ({"vocab_size": 10.0}, "vocab_size must be a whole number"),
        ({"separator": 10}, "separator must be an id from 0 to 9, got 10"),
        ({"separator": 2}, "holds the separator 2 itself"),
        ({"sides": ("train", "test")}, "sides must be"),
        ({"train": iter([[1, 2], [3, 4]])}, "gives other documents the second time"),
        ({"decode": lambda ids: bytes(ids)}, "decode must return the text as a str, got a bytes"),
        ({"decode": lambda ids: "ab"[ids[0]]}, "decode fails on 2 ids: IndexError"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_place(given, said):
    with pytest.raises(DataError, match=said):
        prepare(Numbers(**given))


class Unseeded(Numbers):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def documents(self, side):
        return [self.rng.integers(0, 10, size=20) for _ in range(5)]


def test_documents_that_are_drawn_anew_each_time_are_refused():
    with pytest.raises(
        DataError, match=r"other documents the second time.*document 0 is the first.*inside documents\(\)"
    ):
        prepare(Unseeded())


class ChangesAt(Numbers):
    """Twenty documents a side, of which one is another at every call, or one more is there."""

    def __init__(self, side, index, token=None):
        super().__init__()
        self.calls, self.changes = 0, (side, index, token)

    def documents(self, side):
        documents = [[i % 10, 1, 2] for i in range(20)]
        self.calls += 1
        changing, index, token = self.changes
        if side == changing and self.calls > 2:  # each side was read once
            documents[index : index + 1] = [] if token is None else [[token, 1, 2]]
        return documents


@pytest.mark.parametrize("side", ["train", "validation"])
@pytest.mark.parametrize("index", [0, 7, 8, 13, 19])
def test_a_document_that_changes_is_named_wherever_it_stands(side, index):
    said = rf"documents\('{side}'\) gives other documents.*: document {index} is the first that differs.*seed the gen"
    with pytest.raises(DataError, match=said):
        prepare(ChangesAt(side, index, token=(index + 1) % 10))


def test_a_document_that_is_missing_the_second_time_is_named():
    with pytest.raises(DataError, match="19 documents, 20 the first time; document 19 is the first that one call"):
        prepare(ChangesAt("train", 19))


def test_a_second_call_that_fails_is_told_as_such():
    class Once(Numbers):
        def documents(self, side):
            return self.given.pop(side)

    with pytest.raises(DataError, match=r"documents\('train'\) fails the second time it is called: KeyError"):
        prepare(Once())


class Misnamed:
    vocab_size = 10

    def document(self, side):
        return []


def test_a_class_without_documents_is_told_the_nearest_name():
    with pytest.raises(DataError, match=r"Misnamed has no 'documents'.*it has 'document': call that 'documents'"):
        prepare(Misnamed())


def test_what_the_class_raises_is_told_with_its_line():
    class Broken(Numbers):
        def documents(self, side):
            return {}[side]

    with pytest.raises(DataError, match=r"documents\('train'\) fails in line \d+ of documents: KeyError"):
        prepare(Broken())


class Relabelled(Numbers):
    def __init__(self):
        super().__init__(vocab_size=12)


Relabelled.__qualname__ = "Letters"


def test_a_class_that_was_defined_again_is_read_again(monkeypatch):
    training = pb.Training(
        tokens=8, batch_tokens=8, seq_len=4, evaluations=1, evaluation_tokens=8, optimizer=pb.spec(torch.optim.SGD)
    )
    sizes = []
    for cls in (Letters, Relabelled):
        monkeypatch.setattr(sys.modules[__name__], "Letters", cls)
        corpus, _ = prepare_data(pb.spec(cls), training)
        sizes.append(corpus.vocab_size)
        monkeypatch.undo()
    assert sizes == [11, 13]


def test_the_data_set_on_the_page_is_one_and_trains(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    (tmp_path / "page.py").write_text(
        code
        + """
import paribus as pb, torch
baseline = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)
training = pb.Training(
    tokens=480, batch_tokens=96, seq_len=24, evaluations=1, evaluation_tokens=240,
    optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
)
study = pb.Study(
    question="Copying?", baseline=baseline, treatments={"idea": baseline.replace("*.mixer.window", 8)},
    data=pb.spec(Copy), training=training, margin=1.0, min_seeds=2, max_seeds=2, extra_rates=(),
)
"""
    )
    result = pb.run(tmp_path / "page.py", store=tmp_path / "store", devices=1)
    assert result.report.failed_runs == ()
    assert result.report.data["title"] == "Copy"
    metrics = result.report.arms["baseline"].metrics
    assert metrics["val_loss"].mean > 0
    assert "val_bits_per_byte" not in metrics or metrics["val_bits_per_byte"].mean is None
