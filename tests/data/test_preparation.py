import errno
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from random_documents import write_documents
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from paribus.data import preparation
from paribus.data.preparation import prepare
from paribus.data.split import SIDES, split_documents
from paribus.data.text import Text
from paribus.data.tokenizer import BPE, Bytes, Pretrained
from paribus.errors import DataError

PREPARE = """
import sys
from paribus.data import BPE, Text, prepare
print(prepare(Text(sys.argv[1], tokenizer=BPE(400))).digest)
"""


def documents_of(corpus, side):
    """The texts of a side, from its tokens and ends."""
    part = corpus.side(side)
    starts = [0, *part.ends[:-1].tolist()]
    assert (part.tokens[part.ends - 1] == corpus.separator).all()
    return [corpus.decode(part.tokens[start : end - 1]) for start, end in zip(starts, part.ends, strict=True)]


def only_folder(home):
    (folder,) = [path for path in (home / "data").iterdir() if path.is_dir()]
    return folder


def test_the_sides_hold_every_document_once_and_as_split(jsonl):
    documents = write_documents(60)
    corpus = prepare(Text(jsonl(documents), tokenizer=BPE(300)))
    split = split_documents(documents)
    for side in SIDES:
        assert documents_of(corpus, side) == [documents[index] for index in split.members(side)]
        facts = corpus.manifest["sides"][side]
        assert facts["documents"] == len(split.members(side))
        assert facts["tokens"] == len(corpus.side(side).tokens)
        assert facts["bytes"] == sum(len(documents[index].encode()) for index in split.members(side))


def test_bpe_is_trained_on_the_training_documents_alone(jsonl):
    corpus = prepare(Text(jsonl(write_documents(60)), tokenizer=BPE(300)))
    assert corpus.encoder.to_json() == BPE(300).fit(documents_of(corpus, "train")).to_json()
    everything = [text for side in SIDES for text in documents_of(corpus, side)]
    assert corpus.encoder.to_json() != BPE(300).fit(everything).to_json()


def test_a_second_preparation_reads_the_cache(jsonl, monkeypatch):
    text = Text(jsonl(write_documents(40)), tokenizer=Bytes())
    first = prepare(text)
    monkeypatch.setattr(preparation, "_write", None)  # calling it would fail
    second = prepare(text)
    assert second.manifest == first.manifest
    assert all((a == b).all() for a, b in zip(first.batch(0, 0, 64, 16), second.batch(0, 0, 64, 16), strict=True))


def test_the_digest_follows_text_tokenizer_and_split_but_not_order_or_name(jsonl):
    documents = write_documents(40)
    first = prepare(Text(jsonl(documents), tokenizer=Bytes())).digest
    assert (
        prepare(Text(jsonl(documents[::-1], "other.jsonl", "body"), tokenizer=Bytes(), column="body")).digest == first
    )
    others = [
        prepare(Text(jsonl([*documents[1:], documents[0] + "."]), tokenizer=Bytes())).digest,
        prepare(Text(jsonl(documents), tokenizer=BPE(300))).digest,
        prepare(Text(jsonl(documents), tokenizer=Bytes(), validation_fraction=0.2)).digest,
    ]
    assert len({first, *others}) == 4


@pytest.mark.parametrize("victim", ["train.tokens", "validation.bytes", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_damaged_cache_is_made_again_with_a_warning(jsonl, home, victim, harm):
    text = Text(jsonl(write_documents(40)), tokenizer=BPE(300))
    digest = prepare(text).digest
    path = only_folder(home) / victim
    content = path.read_bytes()
    if harm == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        middle = content.index(b'"texts_sha256": "') + 20 if victim == "manifest.json" else len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.unlink()
    with pytest.warns(UserWarning, match="is damaged .* preparing it again"):
        assert prepare(text).digest == digest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare(text).digest == digest


def test_processes_that_start_at_once_share_one_corpus(jsonl, home):
    path = jsonl(write_documents(300, words=300))
    command = [sys.executable, "-c", PREPARE, path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    digests = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert digests == {prepare(Text(path, tokenizer=BPE(400))).digest + "\n"}
    assert only_folder(home).is_dir()


def test_what_a_killed_process_left_is_cleared_away(jsonl, home):
    text = Text(jsonl(write_documents(40)), tokenizer=Bytes())
    digest = prepare(text).digest
    folder = only_folder(home)
    folder.rename(folder.with_name(folder.name + ".new-12345"))
    assert prepare(text).digest == digest
    assert only_folder(home) == folder


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_done(jsonl, home, monkeypatch):
    kept = prepare(Text(jsonl(write_documents(40)), tokenizer=Bytes())).digest

    def fill(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    text = Text(jsonl(write_documents(40, seed=2), "b.jsonl"), tokenizer=Bytes())
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_write_side", fill)
        with pytest.raises(DataError, match=r"no space is left .*set PARIBUS_HOME"):
            prepare(text)
    assert json.loads((only_folder(home) / "manifest.json").read_text())["digest"] == kept
    assert prepare(text).digest != kept


def test_a_cache_that_is_no_folder_is_one_sentence(jsonl, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARIBUS_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot use the cache: .*; free some, or set PARIBUS_HOME"):
        prepare(Text(jsonl(write_documents(40)), tokenizer=Bytes()))


def test_a_large_vocabulary_is_stored_in_four_bytes(jsonl, tmp_path):
    vocabulary = {word: 70_000 + i for i, word in enumerate(sorted(set(" ".join(write_documents(40)).split())))}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "words.json"))
    documents = write_documents(40)
    corpus = prepare(Text(jsonl(documents), tokenizer=Pretrained(str(tmp_path / "words.json"))))
    assert corpus.train_tokens.dtype == np.uint32 and corpus.train_tokens.max() == corpus.separator
    assert corpus.vocab_size == 70_000 + len(vocabulary) + 1
    assert corpus.manifest["tokenizer"]["round_trip"] == 1.0
    evaluation = corpus.evaluation(1, 10**9)
    assert set(evaluation.document_bytes.tolist()) <= {len(text) for text in documents}


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(DataError, match=r"empty\.txt holds no text"):
        prepare(Text(str(tmp_path / "empty.txt")))


def test_the_standard_library_becomes_megabytes_of_tokens_without_duplicates_across_sides():
    corpus = prepare(Text(tokenizer=Bytes()))
    facts = corpus.manifest["sides"]
    sizes = {side: facts[side]["bytes"] for side in SIDES}
    assert sum(sizes.values()) > 5_000_000 and facts["validation"]["documents"] >= 30
    # A side overshoots its tenth by half at most.
    assert all(0.1 <= sizes[side] / sum(sizes.values()) <= 0.15 for side in ("validation", "confirm"))
    assert all(facts[side]["tokens"] == sizes[side] + facts[side]["documents"] for side in SIDES)


def test_training_tokens_are_cut_at_the_limit_and_the_held_out_sides_are_not(jsonl):
    path = jsonl(write_documents(60))
    whole, cut = (prepare(Text(path, tokenizer=Bytes(), max_train_tokens=limit)) for limit in (None, 5_000))
    assert whole.manifest["sides"]["train"]["tokens"] > 5_000 == cut.manifest["sides"]["train"]["tokens"]
    assert cut.train_tokens[:4_999].tolist() == whole.train_tokens[:4_999].tolist()
    assert cut.train_tokens[-1] == cut.separator and cut.side("train").ends[-1] == 5_000
    assert cut.manifest["sides"]["train"]["bytes"] == (cut.train_tokens != cut.separator).sum()
    assert cut.manifest["sides"]["validation"] == whole.manifest["sides"]["validation"]


def test_a_ready_made_tokenizer_may_end_documents_with_a_special_token_of_its_own(jsonl, tmp_path):
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = {letter: i for i, letter in enumerate(["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer.model = models.BPE(letters, [])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    name = str(tmp_path / "tokenizer.json")
    documents = [f"{document} <|endoftext|> more" for document in write_documents(20)]
    text = Text(jsonl(documents), tokenizer=Pretrained(name, separator="<|endoftext|>", vocab_size=257))
    corpus = prepare(text)
    assert (corpus.vocab_size, corpus.separator) == (257, 0)
    side = corpus.side("train")
    assert (np.flatnonzero(side.tokens == 0) + 1).tolist() == side.ends.tolist()
    assert all("<|endoftext|>" in document for document in documents_of(corpus, "train"))
