import json
import random

import pytest
import torch

from paribus.data import Bytes, Text, prepare

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def write_corpus(home, tmp_path_factory):
    """Prepares documents, in bytes, as a corpus."""

    def write(documents):
        path = tmp_path_factory.mktemp("corpus") / "documents.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
        return prepare(Text(str(path), tokenizer=Bytes()))

    return write


@pytest.fixture(scope="session")
def draw_documents():
    """Documents of random words, which share no passage."""

    def draw(count, words=40, seed=0):
        rng = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        return [
            " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(words)) for _ in range(count)
        ]

    return draw


@pytest.fixture(scope="session")
def corpus(write_corpus, draw_documents):
    return write_corpus(draw_documents(40))
