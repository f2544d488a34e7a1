"""Held-out text that stands in the training text or made the vocabulary, and text that the tokens do not hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.checks import Check
from paribus.data.corpus import Corpus
from paribus.data.overlap import (
    NGRAM_BYTES,
    measure_overlap,
    measure_plain_text,
    measure_repetition,
    measure_vocabulary,
    measure_windows,
)
from paribus.design.metrics import VAL_BITS_PER_BYTE, VAL_LOSS
from paribus.design.study import Study
from paribus.errors import DataError
from paribus.store.records import Finding

NEAR = 0.05
"""Share of documents that look like altered copies of one training document each."""

HIGH, HOPELESS = 0.15, 0.50
"""Shares of the held-out passages of 50 bytes. Split by document, the Python standard library has 0.02 to 0.05:
licences, boilerplate and idioms."""

LONG_RUN, PADDED = 8, 0.20
"""Equal tokens at a document's end, and the share of the scored tokens, from where on they look like padding."""

RARE = 0.01
"""Share of documents, or of distinct ids, that is too small to matter."""

FEW_IDS, USED, OFTEN = 5, 0.99, 0.05
"""Ids too few to count; share of the vocabulary that is used, where it was made of all text; share of the tokens."""

OVERLAP = Check[BuiltStudy](
    name="train/validation overlap",
    when="before",
    severities=("note", "doubt", "invalid"),
    sees="A scored document that is a training document, token for token (invalid; in data of the user's own, short "
    "ones that repeat as often in training are a note, and 1 % or fewer a doubt). The share of the scored side's "
    "passages of 50 bytes that stand in the training text: above 50 % invalid, above 15 % doubt, else a note. In data "
    "of the user's own, passages without the bytes are as many tokens as hold 64 bits by single frequencies, and the "
    "excess over what training documents share with each other counts: pictures have empty grounds. The share of "
    "scored documents that begin with what a training document ends with, in 32 bits or more, as windows of one text "
    "do: the same limits. In data of the user's own also documents more than half of which is one training document, "
    "in passages that at most 5 % of the training documents hold: above 5 % doubt. In data of the user's own that "
    "decode to text, passages that stand in training but for case, whitespace and digits among words, where they are "
    "15 % more than as they are.",
    misses="Paraphrases, translations, shorter quotations, and what a pretrained tokenizer has seen. Windows that lie "
    "side by side. A text altered at every few bytes, such as every 12th byte replaced. Altered copies on both sides, "
    "changed every 30 tokens or fewer, or of so few originals that each is in over 5 % of training. Statistics of "
    "held-out files that a model reads from disk itself. It doubts honest documents of two or three numbers without "
    "noise, such as pure sines.",
    cost="about a second per 3 million tokens; three times that in data of the user's own",
    needs="corpus",
    find=lambda built: find_leaked_text(built.study, built.corpus),
)

PADDING = Check[BuiltStudy](
    name="padding",
    when="before",
    severities=("doubt",),
    sees="In data of the user's own: scored documents that end in 8 or more equal tokens, where these make up more "
    "than 20 % of the scored side. A model learns them at once, and every difference between arms shrinks by as much.",
    misses="Padding in front, or of changing tokens. Repetition inside documents.",
    cost="one pass over the scored side",
    needs="corpus",
    find=lambda built: find_padding(built.study, built.corpus),
)

VOCABULARY = Check[BuiltStudy](
    name="vocabulary",
    when="before",
    severities=("note", "doubt"),
    sees="In data of the user's own: ids that are scored and never occur in training. More than 1 % of the scored ids, "
    "and 5 or more, are a doubt where every id of the vocabulary occurs somewhere, which shows a vocabulary made from "
    "all text, or where they are 5 % of the scored tokens. A ready-made tokenizer (note).",
    misses="A vocabulary whose size or order comes from held-out text while training shows all of it. What a "
    "ready-made tokenizer was made of.",
    cost="none for Bytes and BPE, which are made of the training documents; else one pass over the tokens",
    needs="corpus",
    find=lambda built: find_foreign_vocabulary(built.study, built.corpus),
)

LOST_TEXT = Check[BuiltStudy](
    name="tokenizer loses text",
    when="before",
    severities=("doubt",),
    sees="A tokenizer that does not give back every validation document: the share it does.",
    misses="Text that is lost in the training documents alone.",
    cost="none; measured when the corpus is prepared",
    needs="corpus",
    find=lambda built: find_lost_text(built.corpus),
)


def find_leaked_text(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """Documents on both sides, and passages that the scored side shares with the training side.

    In data of a user's own the training documents may hold much of each other: pictures have empty grounds, music has
    rests. There the excess over that counts; a Text keeps to the plain share.
    """
    side = study.training.evaluation_side
    overlap = measure_overlap(corpus)
    found = overlap["sides"][side]
    yield from _copied_documents(corpus, side, overlap)
    repetition = measure_repetition(corpus, side, overlap["n"]) if corpus.is_own else None
    passages = _shared_passages(corpus, side, overlap, repetition)
    yield passages
    if passages.severity == "invalid":
        return
    if repetition:
        yield from _near_copies(side, found, repetition)
        yield from _retyped_text(corpus, side, found)
    yield from _overlapping_windows(corpus, side, found)


def _shared_passages(
    corpus: Corpus, side: str, overlap: Mapping[str, Any], repetition: Mapping[str, Any] | None
) -> Finding:
    found, n_tokens = overlap["sides"][side], overlap["n"]
    length = f"{NGRAM_BYTES} bytes" if not corpus.is_own else f"{n_tokens} tokens"
    excess, evidence, compared = found["shared_share"], {**found, "passage_tokens": n_tokens}, ""
    if repetition:
        by_chance = repetition["by_chance"]
        excess = max(0.0, found["shared_share"] - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0
        evidence |= {"train_shared_share": repetition["train_shared_share"], "excess": excess}
        if repetition["train_shared_share"] > HIGH:
            compared = f"; of those of a training document {repetition['train_shared_share']:.1%} stand in another one"
    severity = "invalid" if excess > HOPELESS else "doubt" if excess > HIGH else "note"
    said = f"{found['shared_share']:.1%} of the {side} passages of {length} stand in the training text too{compared}"
    return Finding(
        check="train/validation overlap",
        severity=severity,
        message=said
        if found["ngrams"]
        else f"0 of the {side} documents are as long as a passage of {length}: passages were not compared",
        evidence={**evidence, "doubt_above": HIGH, "invalid_above": HOPELESS},
        remedy="" if severity == "note" else "split by document, near duplicates on one side; never split windows",
    )


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


def _near_copies(side: str, found: Mapping[str, Any], repetition: Mapping[str, Any]) -> Iterator[Finding]:
    """Documents that are mostly one training document: altered copies. Text keeps them on one side."""
    n = repetition["documents"]
    near = repetition["near_copies"] - min(found["long_duplicates"], repetition["near_copies"])
    if near > RARE * n:
        severity = "doubt" if near > NEAR * n else "note"
        yield Finding(
            check="train/validation overlap",
            severity=severity,
            message=f"{near} of the {n} {side} documents looked at have more than half of their passages from "
            "one training document each, without being copies",
            evidence={**found, **repetition, "doubt_above": NEAR},
            remedy="put near duplicates on one side",
        )


def _retyped_text(corpus: Corpus, side: str, overlap: Mapping[str, Any]) -> Iterator[Finding]:
    """Text that stands in training but for its case, its whitespace, or digits such as those of line numbers."""
    found = measure_plain_text(corpus, side)
    if found and found["shared_share"] - overlap["shared_share"] > HIGH:
        share = found["shared_share"]
        yield Finding(
            check="train/validation overlap",
            severity="invalid" if share > HOPELESS else "doubt",
            message=f"{share:.1%} of the {side} passages of {NGRAM_BYTES} bytes stand in the training text once case, "
            f"whitespace, and digits among words are left out; {overlap['shared_share']:.1%} do as they are",
            evidence={**found, "as_they_are": overlap["shared_share"], "doubt_above": HIGH, "invalid_above": HOPELESS},
            remedy="split before the text is cleaned, or clean both sides alike",
        )


def _overlapping_windows(corpus: Corpus, side: str, overlap: Mapping[str, Any]) -> Iterator[Finding]:
    found = measure_windows(corpus, side)
    share = found["continuing"] / max(1, found["documents"])
    if share > HIGH:
        yield Finding(
            check="train/validation overlap",
            severity="invalid" if share > HOPELESS else "doubt",
            message=f"{share:.0%} of the {side} documents begin with what a training document ends with, "
            f"{found['length']} tokens or more: windows that overlap in one text",
            evidence={
                "shared_share": overlap["shared_share"],
                **found,
                "share": share,
                "doubt_above": HIGH,
                "invalid_above": HOPELESS,
            },
            remedy="split the text before it is cut into windows",
        )


def find_padding(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """Runs of one token at the ends of the scored documents."""
    if not corpus.is_own:
        return
    side = corpus.side(study.training.evaluation_side)
    tokens = side.tokens[side.tokens != corpus.separator]
    bounds = np.cumsum(np.diff(side.ends, prepend=0) - 1)  # every document without its separator
    runs = [_last_run(document) for document in np.split(tokens, bounds[:-1])]
    padding = sum(run for run in runs if run >= LONG_RUN)
    share = padding / max(1, len(tokens))
    if share > PADDED:
        yield Finding(
            check="padding",
            severity="doubt",
            message=f"{share:.0%} of the scored tokens stand in runs of one token at the ends of documents, as padding "
            "does: they tell no arm from another, and make every difference smaller",
            evidence={"share": share, "tokens": padding, "longest": max(runs), "doubt_above": PADDED},
            remedy="give the documents without their padding; paribus cuts windows itself",
        )


def _last_run(document: np.ndarray) -> int:
    """How many equal tokens a document ends in."""
    if not len(document):
        return 0
    others = np.flatnonzero(document != document[-1])
    return len(document) - 1 - int(others[-1]) if len(others) else len(document)


def find_foreign_vocabulary(study: Study, corpus: Corpus) -> Iterator[Finding]:
    """A vocabulary that was made with the scored text, or nobody knows with what."""
    if corpus.manifest["tokenizer"].get("kind") == "pretrained":
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
    share = corpus.manifest["tokenizer"].get("round_trip", 1.0)  # a data set of tokens has no text to give back
    if share < 1:
        yield Finding(
            check="tokenizer loses text",
            severity="doubt",
            message=f"decoding gives back only {share:.1%} of the validation documents: the tokens do not hold all of "
            "the text, and bits per byte count bytes that no model was asked for",
            evidence={"round_trip": share},
            remedy="take a tokenizer that keeps every character, such as spec(Bytes) or spec(BPE)",
        )
