"""Held-out text that stands in the training text, and text that the tokens do not hold."""

from __future__ import annotations

from collections.abc import Iterator

from paribus.data.leakage import NGRAM_BYTES, measure_overlap
from paribus.data.tokens import Corpus
from paribus.records import Finding
from paribus.study import Study

HIGH, HOPELESS = 0.15, 0.50
"""Shares of the held-out passages of 50 bytes. Split by document, the Python standard library has 0.02 to 0.05:
licences, boilerplate and idioms."""


def find_leaked_text(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """Documents on both sides, and passages that the scored side shares with the training side."""
    side = study.training.evaluation_side
    overlap = measure_overlap(corpus)
    found = overlap["sides"][side]
    if found["duplicate_documents"]:
        yield Finding(
            check="train/validation overlap",
            severity="invalid",
            message=f"{found['duplicate_documents']} of the {found['documents']} {side} documents stand among the "
            "training documents too, token for token",
            evidence=found,
            remedy="split by document, with equal documents on one side",
        )
    share = found["shared_share"]
    severity = "invalid" if share > HOPELESS else "doubt" if share > HIGH else "note"
    yield Finding(
        check="train/validation overlap",
        severity=severity,
        message=f"{share:.1%} of the {side} passages of {NGRAM_BYTES} bytes stand in the training text too",
        evidence={**found, "passage_tokens": overlap["n"], "doubt_above": HIGH, "invalid_above": HOPELESS},
        remedy="" if severity == "note" else "split by document, near duplicates on one side; never split windows",
    )


def find_lost_text(corpus: Corpus) -> Iterator[Finding]:
    """A tokenizer whose tokens do not give back every held-out document, as measured when the corpus was prepared."""
    manifest = getattr(corpus, "manifest", None) or {}  # a corpus made by hand may have none
    share = manifest.get("tokenizer", {}).get("round_trip", 1.0)
    if share < 1:
        yield Finding(
            check="tokenizer loses text",
            severity="doubt",
            message=f"decoding gives back only {share:.1%} of the validation documents: the tokens do not hold all of "
            "the text, and bits per byte count bytes that no model was asked for",
            evidence={"round_trip": share},
            remedy="take a tokenizer that keeps every character, such as spec(Bytes) or spec(BPE)",
        )
