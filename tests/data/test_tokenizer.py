import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from paribus.data.tokenizer import BPE, Bytes, Pretrained, load_encoder
from paribus.errors import DataError

# The words of Sennrich et al. 2016, figure 1, as often as there.
SENNRICH = ["low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3]
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


def test_bytes_are_the_bytes_of_utf_8():
    encoder = Bytes().fit([])
    assert encoder.encode(["aé€"])[0].tolist() == [0x61, 0xC3, 0xA9, 0xE2, 0x82, 0xAC]
    assert encoder.vocab_size == 257
    assert encoder.decode([0x61, 256, 0xC3, 0xA9]) == "a\n\né"


def test_bpe_merges_the_pairs_of_the_paper():
    # "es" and "st" occur nine times each, "est" is whichever comes first and then the other.
    encoder = BPE(256 + 2 + 1).fit(SENNRICH)
    vocabulary = encoder.tokenizer.get_vocab()
    assert "est" in vocabulary and "lo" not in vocabulary
    assert encoder.vocab_size == 259


@settings(deadline=None)
@given(texts)
def test_decoding_gives_every_text_back(text):
    for encoder in (Bytes().fit([]), ENCODER):
        ids = encoder.encode([text])[0]
        assert encoder.decode(ids) == text
        assert len(ids) == 0 or ids.max() < encoder.vocab_size - 1


@settings(deadline=None)
@given(texts)
def test_the_bytes_of_the_tokens_add_up_to_the_text(text):
    for encoder in (Bytes().fit([]), ENCODER):
        ids, until = encoder.measure([text])[0]
        assert ids.tolist() == encoder.encode([text])[0].tolist()
        assert (np.diff(until) >= 0).all()
        assert (until[-1] if len(until) else 0) == len(text.encode())


def test_ascii_tokens_have_as_many_bytes_as_characters():
    ids, until = ENCODER.measure(["the newest lower"])[0]
    sizes = np.diff(until, prepend=0).tolist()
    assert sizes == [len(ENCODER.decode([token])) for token in ids]


def test_training_twice_gives_the_same_tokenizer_and_json_brings_it_back():
    again = BPE(270).fit(SENNRICH)
    assert again.to_json() == ENCODER.to_json()
    loaded = load_encoder(again.to_json())
    assert loaded.encode(["lowest"])[0].tolist() == again.encode(["lowest"])[0].tolist()
    assert load_encoder(Bytes().fit([]).to_json()).vocab_size == 257


@pytest.mark.parametrize("vocab_size", [256, 0, 300.0, True])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(vocab_size):
    with pytest.raises(DataError, match="at least 257"):
        BPE(vocab_size)


def test_text_that_holds_too_few_pairs_is_refused_with_the_size_it_could_have():
    with pytest.raises(DataError, match=r"hold pairs for 2\d\d tokens, not for vocab_size=5,000; ask for 2\d\d"):
        BPE(5_000).fit(SENNRICH)


def test_a_special_token_spelled_out_in_a_text_is_text(tmp_path):
    encoder = Pretrained(word_tokenizer(tmp_path)).fit([])
    ids = encoder.encode(["a <end> b"])[0].tolist()
    assert encoder.vocab_size == 6 and ids == [0, 2, 1]  # an unknown word, neither <end> nor the separator


def test_a_pretrained_tokenizer_is_known_by_its_content(tmp_path):
    path = word_tokenizer(tmp_path)
    before = Pretrained(path).identity()
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["vocab"]["c"] = 4
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert Pretrained(path).identity() != before


def test_bytes_dropped_by_a_normaliser_count_with_the_next_token(tmp_path):
    encoder = Pretrained(word_tokenizer(tmp_path)).fit([])
    ids, until = encoder.measure(["a   b  "])[0]
    assert ids.tolist() == [0, 1] and until.tolist() == [1, 5]


def test_a_tokenizer_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json.*No such file"):
        Pretrained(str(tmp_path / "nowhere.json")).identity()
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(DataError, match=r"broken\.json is no tokenizer\.json"):
        Pretrained(str(tmp_path / "broken.json")).fit([])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"separator": "<eos>"}, "separator '<eos>' is no special token of the tokenizer; it has '<end>'"),
        ({"separator": "a"}, "separator 'a' is no special token"),
        ({"vocab_size": 7}, "has 6 tokens, vocab_size says 7"),
    ],
)
def test_a_ready_made_tokenizer_of_another_size_or_without_the_separator_is_refused(options, said, tmp_path):
    with pytest.raises(DataError, match=said):
        Pretrained(word_tokenizer(tmp_path), **options).fit([])


def word_tokenizer(folder):
    """Words a and b, an unknown word, the special token <end> with id 4; white space is dropped."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<unk>": 2, "z": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder / "tokenizer.json")


ENCODER = BPE(270).fit(SENNRICH)
