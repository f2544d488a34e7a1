"""What was asked for: a study at a scale, on a corpus, over so many seeds; or its confirmation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from paribus.design.recipe import Training
from paribus.design.specs import Spec, spec
from paribus.design.study import Study
from paribus.design.study_files import read_study
from paribus.design.trees import describe
from paribus.errors import StudyError
from paribus.store.records import Finding

CONFIRMATION_SEEDS = 10_000  # a confirmation's seeds lie this far from the first registration's


@dataclass(frozen=True)
class Request:
    """A study as the user asked for it, the file it came from, and what to say about how it was made."""

    name: str
    study: Study
    file: Path | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def travels(self) -> bool:
        """Whether a worker process can find the study's classes again."""
        return self.file is not None or "__main__:" not in json.dumps(self.study.to_json())


def read_request(
    study: str | Path | Study, scale: str | None, data: str | None, max_seeds: int | None = None, confirm: bool = False
) -> Request:
    """The study that is meant: at ``scale``, on the corpus ``data``, with ``max_seeds`` pairs, or its confirmation.

    A corpus in place of the study's is read whole, and has a tokenizer of its own trained on it, where the study's
    tokenizer comes from the hub.
    Raises StudyError for a study or scale that does not exist.
    """
    if isinstance(study, Study):
        if scale is not None:
            raise StudyError(f"a Study object has no scales, got scale {scale!r}; scales belong to a study file")
        wanted, file, name = study, None, name_after(study.question)
    else:
        found = read_study(study)
        # A worker finds the classes of a plug-in by their modules' names.
        wanted, file, name = found.choose(scale), None if found.package else found.path, found.name
        if scale not in (None, next(iter(found.scales))):
            name = f"{name}-{scale}"
    findings = []
    if data is not None:
        name = f"{name}-on-{Path(data).stem}"
        if "source" not in wanted.data.resolved():
            raise StudyError(
                f"no other corpus can be named: the data of this study are a {wanted.data.cls.__name__}, "
                "which takes no source"
            )
        corpus = wanted.data.replace("source", data)
        if not data.startswith("hub:") and (tokenizer := _hub_tokenizer(corpus)):
            corpus = corpus.replace("tokenizer", _own_tokenizer(tokenizer)).replace("max_document_chars", None)
            findings.append(_retokenized(tokenizer, corpus))
        wanted = wanted.replace(data=corpus)
    if max_seeds is not None:
        wanted = wanted.replace(max_seeds=max_seeds, min_seeds=min(wanted.min_seeds, max_seeds))
    if confirm:
        wanted, name = _confirmation(wanted), f"{name}-confirm"
    return Request(name, wanted, file, tuple(findings))


def name_after(question: str) -> str:
    """The name of a study that no file has named."""
    return re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")[:40] or "study"


def _confirmation(study: Study) -> Study:
    """The same study on fresh seeds and on the documents that were held back from the start."""

    def hold_back(training: Training) -> Training:
        return training.replace(evaluation_side="confirm")

    return study.replace(
        treatments={n: a.replace(training=a.training and hold_back(a.training)) for n, a in study.treatments.items()},
        training=hold_back(study.training),
        first_seed=study.first_seed + CONFIRMATION_SEEDS,
    )


def _hub_tokenizer(corpus: Spec) -> Spec | None:
    """The tokenizer that a data spec fetches from the hub, if it does."""
    from paribus.data import Pretrained

    tokenizer = dict(corpus.arguments).get("tokenizer")
    if not isinstance(tokenizer, Spec) or tokenizer.cls is not Pretrained:
        return None
    return None if Pretrained(**dict(tokenizer.arguments)).is_file else tokenizer


def _own_tokenizer(tokenizer: Spec) -> Spec:
    from paribus.data import BPE

    vocab_size = dict(tokenizer.arguments).get("vocab_size")
    return spec(BPE, vocab_size=vocab_size) if vocab_size else spec(BPE)


def _retokenized(tokenizer: Spec, corpus: Spec) -> Finding:
    return Finding(
        check="corpus",
        severity="note",
        message=f"another corpus was named: its documents are read whole, and {describe(corpus['tokenizer'])} is "
        f"trained on them in place of the hub's {tokenizer['name']}",
        evidence={"tokenizer": describe(corpus["tokenizer"]), "instead_of": tokenizer["name"]},
        remedy="name the tokenizer in a study file of your own to have another",
    )
