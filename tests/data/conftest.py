import json

import numpy as np
import pytest
from random_documents import write_documents

from paribus.data.corpus import Corpus
from paribus.data.preparation import prepare
from paribus.data.text import Text
from paribus.data.tokenizer import Bytes


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("PARIBUS_HOME", str(folder))
    return folder


@pytest.fixture
def jsonl(tmp_path):
    """Writes documents to a JSONL file and returns its path."""

    def write(documents, name="corpus.jsonl", column="text"):
        path = tmp_path / name
        path.write_text("".join(json.dumps({column: text}) + "\n" for text in documents))
        return str(path)

    return write


@pytest.fixture
def small(jsonl):
    """Forty documents in bytes, prepared."""
    return prepare(Text(jsonl(write_documents(40)), tokenizer=Bytes()))


@pytest.fixture
def counting(tmp_path):
    """Makes a corpus whose n-th training token is n, so that a token tells its position."""

    def make(n_tokens: int) -> Corpus:
        folder = tmp_path / f"counting-{n_tokens}"
        folder.mkdir(exist_ok=True)
        (folder / "train.tokens").write_bytes(np.arange(n_tokens, dtype="<u4").tobytes())
        manifest = {
            "digest": "-",
            "title": "numbers",
            "tokenizer": {"vocab_size": n_tokens + 1, "separator": n_tokens},
            "sides": {"train": {"tokens": n_tokens}},
            "dtype": "<u4",
        }
        return Corpus(folder, manifest)

    return make
