from random_documents import write_documents

from paribus.data.corpora import Text
from paribus.data.leakage import measure_overlap
from paribus.data.preparation import prepare
from paribus.data.tokenization import Bytes


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
