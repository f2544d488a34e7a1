"""Held-out text that stands in the training text or made the vocabulary, and text that the tokens do not hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from paribus.data.leakage import NGRAM_BYTES, measure_overlap, measure_vocabulary, measure_windows
from paribus.data.tokens import Corpus
from paribus.errors import DataError
from paribus.records import Finding
from paribus.study import VAL_BITS_PER_BYTE, VAL_LOSS, Study

NEAR = 0.05
HIGH, HOPELESS = 0.15, 0.50
"""Shares of the held-out passages of 50 bytes. Split by document, the Python standard library has 0.02 to 0.05:
licences, boilerplate and idioms."""


RARE = 0.01
"""Share of documents, or of distinct ids, that is too small to matter."""
FEW_IDS = 5
USED, OFTEN = 0.99, 0.05


def find_leaked_text(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """Documents on both sides, and passages that the scored side shares with the training side."""
    side = study.training.evaluation_side
    overlap = measure_overlap(corpus)
    found = overlap["sides"][side]
    yield from _copied_documents(corpus, side, overlap)
    share, n_tokens = found["shared_share"], overlap["n"]
    severity = "invalid" if share > HOPELESS else "doubt" if share > HIGH else "note"
    length = f"{NGRAM_BYTES} bytes" if not corpus.is_own else f"{n_tokens} tokens"
    said = f"{share:.1%} of the {side} passages of {length} stand in the training text too"
    yield Finding(
        check="train/validation overlap",
        severity=severity,
        message=said if found["ngrams"] else f"0 of the {side} documents are as long as a passage of {length}",
        evidence={**found, "passage_tokens": n_tokens, "doubt_above": HIGH, "invalid_above": HOPELESS},
        remedy="" if severity == "note" else "split by document, near duplicates on one side; never split windows",
    )
    if severity != "invalid":
        yield from _near_copies(corpus, side, found)
        yield from _overlapping_windows(corpus, side)


def _copied_documents(corpus: Corpus, side: str, overlap: Mapping[str, Any]) -> Iterator[Finding]:
    """Short documents of a user's own data may repeat by chance: as often as they do among the training documents."""
    found, repeats = overlap["sides"][side], overlap["train_repeats"]
    n, copies = found["documents"], found["duplicate_documents"]
    if not copies:
        return
    severity = "invalid"
    if corpus.is_own:
        by_chance = repeats + 3 * math.sqrt(repeats * (1 - repeats) / n)
        long, short = found["long_duplicates"] / n, (copies - found["long_duplicates"]) / n
        excess = max(long, short - by_chance if short > by_chance else 0)
        severity = "invalid" if excess > RARE else "doubt" if excess > 0 else "note"
    chance = f"; as many as chance makes, with {repeats:.0%} of the training documents twice"
    yield Finding(
        check="train/validation overlap",
        severity=severity,
        message=f"{copies} of the {n} {side} documents stand among the training documents too, token for token"
        + (chance if severity == "note" else ""),
        evidence={**found, "train_repeats": repeats, "passage_tokens": overlap["n"]},
        remedy="" if severity == "note" else "split by document, with equal documents on one side",
    )


def _near_copies(corpus: Corpus, side: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    """Documents that are mostly training text, where they are few beside the rest. Text keeps them on one side."""
    near = found["mostly_shared_documents"] - found["long_duplicates"]
    if corpus.is_own and near > RARE * found["documents"] and found["shared_share"] <= HIGH:
        yield Finding(
            check="train/validation overlap",
            severity="doubt" if near > NEAR * found["documents"] else "note",
            message=f"{near} of the {found['documents']} {side} documents are in training in more than half of their "
            "passages, without being copies",
            evidence=dict(found),
            remedy="put near duplicates on one side",
        )


def _overlapping_windows(corpus: Corpus, side: str) -> Iterator[Finding]:
    found = measure_windows(corpus, side)
    share = found["continuing"] / max(1, found["documents"])
    if share > HIGH:
        yield Finding(
            check="train/validation overlap",
            severity="invalid" if share > HOPELESS else "doubt",
            message=f"{share:.0%} of the {side} documents begin with what a training document ends with, "
            f"{found['length']} tokens or more: windows that overlap in one text",
            evidence={**found, "share": share, "doubt_above": HIGH, "invalid_above": HOPELESS},
            remedy="split the text before it is cut into windows",
        )


def find_foreign_vocabulary(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """A vocabulary that was made with the scored text, or nobody knows with what."""
    manifest = getattr(corpus, "manifest", None) or {}  # a corpus made by hand may have none
    kind = manifest.get("tokenizer", {}).get("kind")
    if kind == "pretrained":
        yield Finding(
            check="vocabulary",
            severity="note",
            message=f"the ready-made tokenizer of {corpus.vocab_size:,} tokens may have been made of the scored text: "
            "nothing is known of that, and it is the same for all arms",
            evidence={"vocab_size": corpus.vocab_size},
        )
    if not corpus.is_own:
        return
    side = study.training.evaluation_side
    found = measure_vocabulary(corpus, side)
    if not found["unseen_ids"]:
        return
    many = found["unseen_share"] > RARE and found["unseen_ids"] >= FEW_IDS
    made_of_all = many and found["used_share"] >= USED
    other_kind = many and found["unseen_tokens_share"] > OFTEN
    what = "a vocabulary made from all text" if made_of_all else "sides of different kinds"
    said = f": {what}" if made_of_all or other_kind else ""
    yield Finding(
        check="vocabulary",
        severity="doubt" if said else "note",
        message=f"{found['unseen_ids']} of the {found['ids']} ids on the {side} side never occur in training, "
        f"{found['unseen_tokens_share']:.1%} of its tokens{said}",
        evidence={**found, "doubt_above": RARE, "of_ids": FEW_IDS, "used_above": USED, "tokens_above": OFTEN},
        remedy="make the vocabulary of the training documents alone, with one id for all else" if said else "",
    )


def require_bytes(study: Study, corpus: Corpus) -> None:
    """Raise DataError where a study is judged on bits per byte and the bytes of the scored text are not known."""
    if study.metric.key != VAL_BITS_PER_BYTE.key or not corpus.is_own:
        return
    if corpus.side(study.training.evaluation_side).n_bytes is None:
        raise DataError(
            f"{corpus.title} has no decode(ids) -> str, so the bytes of its text are not known and there are no bits "
            f"per byte to judge on; give it one, or judge on {VAL_LOSS.key!r}"
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
