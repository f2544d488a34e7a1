"""Text out of arms that were trained on a data set of one's own, with and without a way to read it."""

import numpy as np
import pytest
import torch

import paribus as pb
from paribus.errors import StoreError, StudyError
from paribus.lab import running as lab


class Digits:
    """Documents of thirty-two random digits."""

    vocab_size = 10

    def documents(self, side):
        seed, count = {"train": (0, 10), "validation": (1, 4)}[side]
        return np.random.default_rng(seed).integers(0, 10, (count, 32))


class Spoken(Digits):
    """The same digits, which can be read."""

    def decode(self, ids):
        return "".join(map(str, ids))


def ask_in_digits(data):
    baseline = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)
    return pb.Study(
        question=f"Does {data.__name__} go on?",
        baseline=baseline,
        treatments={"idea": baseline.replace("final_norm", pb.spec(pb.nn.LayerNorm))},
        data=pb.spec(data),
        training=pb.Training(
            tokens=96,
            batch_tokens=48,
            seq_len=24,
            evaluations=1,
            evaluation_tokens=96,
            optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
        ),
        margin=10.0,
        min_seeds=2,
        max_seeds=2,
        extra_rates=(),
    )


@pytest.fixture(scope="module")
def digits(home, tmp_path_factory):
    """A store of two studies on data of one's own: without and with a way to read them."""
    store = tmp_path_factory.mktemp("digits") / "store"
    names = {data: lab.run(ask_in_digits(data), store, executor="inline").name for data in (Digits, Spoken)}
    return store, names


def test_data_that_nothing_decodes_are_shown_as_ids_and_a_prompt_is_ids(digits):
    store, names = digits
    written = pb.sample(store, names[Digits], study=ask_in_digits(Digits), prompt="3 4  10", n_tokens=5)
    assert not written.is_text
    assert (written.prompt.tokens, written.prompt.text) == ((3, 4, 10), "3 4 10")
    greedy = written.arms["baseline"].greedy
    assert greedy.text == " ".join(map(str, greedy.tokens))


def test_data_of_ones_own_with_a_decode_are_shown_as_text(digits):
    store, names = digits
    written = pb.sample(store, names[Spoken], study=ask_in_digits(Spoken), n_tokens=5)
    assert written.is_text
    assert written.prompt.text == "".join(map(str, written.prompt.tokens))


@pytest.mark.parametrize("prompt", ["three", "11", "-1", " "])
def test_a_prompt_that_is_no_list_of_ids_is_refused_where_nothing_encodes(digits, prompt):
    store, names = digits
    with pytest.raises(StudyError, match="a prompt is token ids from 0 to 10 with spaces between"):
        pb.sample(store, names[Digits], study=ask_in_digits(Digits), prompt=prompt)


def test_of_several_studies_one_is_to_be_named(digits):
    with pytest.raises(StoreError, match=r"holds 2 studies \(does-digits-go-on, does-spoken-go-on\); name one"):
        pb.sample(digits[0])
