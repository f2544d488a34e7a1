import pytest
from random_documents import write_documents

from paribus.data.text import Text, open_source, read_documents
from paribus.data.tokenizer import BPE, Bytes
from paribus.design.specs import Spec, spec
from paribus.errors import DataError


def test_a_text_is_built_from_its_spec_with_the_tokenizer_in_it():
    made = spec(Text, source="stdlib", tokenizer=spec(BPE, vocab_size=512))
    text = made.cls(**dict(made.arguments))
    assert text.tokenizer == BPE(512)
    assert spec(Text).resolved()["tokenizer"] == spec(BPE, vocab_size=1024)
    assert Spec.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": ""}, "source is 'stdlib', a path or 'hub:owner/name'"),
        ({"tokenizer": "bpe"}, "tokenizer is a spec of BPE, Bytes or Pretrained, got 'bpe'"),
        ({"validation_fraction": 0}, "validation_fraction must be positive"),
        ({"confirm_fraction": float("nan")}, "confirm_fraction must be a number, got nan"),
        ({"validation_fraction": 0.8, "confirm_fraction": 0.15}, "leave less than a tenth for training"),
        ({"near_duplicate": 0.0}, "near_duplicate is a similarity above 0 and up to 1"),
        ({"max_documents": 0}, "max_documents must be a whole number of at least 1 or None, got 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Text(**arguments)


def test_limits_cut_the_number_and_the_length_of_documents(jsonl):
    text = Text(jsonl(["", *write_documents(30)]), tokenizer=Bytes(), max_documents=12, max_document_chars=50)
    documents = list(read_documents(open_source(text), text))
    assert documents == [document[:50] for document in write_documents(30)[:12]]


def test_half_a_surrogate_pair_is_refused_with_its_place(jsonl):
    text = Text(jsonl(["fine", "ab\ud800"]))
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: character 2 is half of a surrogate pair"):
        list(read_documents(open_source(text), text))


def test_the_standard_library_is_called_python_source_code():
    assert open_source(Text()).title == "Python source code"


def test_the_identity_of_files_does_not_say_where_they_lie(jsonl, tmp_path):
    first = open_source(Text(jsonl(["a", "b"])))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "corpus.jsonl").rename(tmp_path / "elsewhere" / "corpus.jsonl")
    assert open_source(Text(str(tmp_path / "elsewhere" / "corpus.jsonl"))).identity == first.identity


@pytest.mark.parametrize("name", ["rows.csv", "all.json", "text.txt.gz"])
def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"a,b\n\nc,d\n")
    with pytest.raises(DataError, match="is no text: convert it to JSONL or Parquet"):
        open_source(Text(str(tmp_path / name)))


def test_a_hub_source_is_read_up_to_ten_thousand_documents_unless_said_otherwise():
    assert Text("hub:owner/stories").max_documents == 10_000
    assert Text("hub:owner/stories", max_documents=5).max_documents == 5
    assert Text("stdlib").max_documents is None
