"""The trained arms of a registered study: found in a store, and read only where what trained them is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.design.study import Arm, Study
from paribus.design.study_files import built_in_studies, read_study
from paribus.errors import StoreError, StudyError
from paribus.judgement import Registration
from paribus.store.files import read_json
from paribus.store.identity import source_identity
from paribus.store.store import WEIGHTS, Store

if TYPE_CHECKING:
    from torch import nn

    from paribus.data import Corpus

_RETOKENIZED = ("data", "paribus.data:BPE")  # what ``--data`` may put in place of a study's tokenizer


@dataclass(frozen=True)
class TrainedArm:
    """An arm and the folder of its run with the study's first seed, which has kept its weights."""

    name: str
    model: Spec
    training: Training
    seed: int
    folder: Path

    def require_as_trained(self, corpus: Corpus) -> None:
        """Raise StudyError where source, packages or corpus are not those of the run: it would be another model."""
        trained = read_json(self.folder / "run.json")
        here = {**source_identity(Arm(self.model, self.training)), "model": self.model.digest}
        here["data_digest"] = corpus.digest
        differing = [key for key, value in here.items() if trained.get(key) != value]
        if not differing:
            return
        before, now = trained["user_source"], here["user_source"]
        files = sorted(file for file in before.keys() | now.keys() if before.get(file) != now.get(file))
        said = {
            "user_source": f"{', '.join(files)} differ{'s' * (len(files) == 1)} from what it was trained with",
            "paribus_source": f"this is not the source of the paribus {trained['packages']['paribus']} that trained it",
            "paribus_parts": "parts of paribus that it has are not what they were then",
            "installed": f"it was trained with the packages {trained['installed']}, here are {here['installed']}",
            "model": "its classes have other defaults than when it was trained",
            "data_digest": f"it was trained on a corpus of digest {trained['data_digest'][:16]}, here is one of "
            f"{corpus.digest[:16]}",
        }
        reasons = [said.get(key, f"its {key} has changed") for key in differing]
        raise StudyError(
            f"the weights of {self.name!r} cannot be used here: {'; '.join(reasons)}. Bring back what trained it, or "
            "run the study again"
        )

    def load(self, corpus: Corpus) -> nn.Module:
        """The trained model, on the CPU. Raises StoreError for weights that are damaged or of another model."""
        from paribus.nn.contract import build_model
        from paribus.training.checkpoint import load_weights

        sizes = {"vocab_size": corpus.vocab_size, "seq_len": self.training.seq_len}
        model = build_model(self.model, self.seed, **sizes)
        load_weights(self.folder / WEIGHTS, model)
        return model


def find_trained(
    place: Store, registration: Registration, names: Sequence[str], given: Sequence[Study] = ()
) -> dict[str, TrainedArm]:
    """The arms ``names`` of a registered study, with the weights of its first seed.

    A store names what is to be built, and may come from anywhere. So nothing is imported because a store names it: each
    class and function must be one that the studies ``given``, which are in this process already, have in its place; by
    default they are those of the built-in study that the registration is named after.
    Raises StudyError for any other, StoreError for a run without weights, saying why it has none.
    """
    folders = _find_folders(place, registration, names)
    study = registration.study.content
    _require_known(registration.name, study, names, given or _built_in(registration.name))
    return {
        name: TrainedArm(
            name,
            Spec.from_json(study["arms"][name]["model"]),
            Training.from_json(study["arms"][name]["training"]),
            registration.study.first_seed,
            folder,
        )
        for name, folder in folders.items()
    }


def _find_folders(place: Store, registration: Registration, names: Sequence[str]) -> dict[str, Path]:
    every = {name: place.run_folder(digests[0]) for name, digests in registration.runs.items()}
    if lacking := [why for name in names if (why := _why_none(place, name, every[name]))]:
        others = [repr(name) for name, folder in every.items() if (folder / WEIGHTS).exists()]
        hint = f" There are weights of {', '.join(others)}: --arm NAME" if others else ""
        raise StoreError(f"no trained weights: {'; '.join(lacking)}.{hint}")
    return {name: every[name] for name in names}


def _why_none(place: Store, name: str, folder: Path) -> str:
    """Why the run in ``folder`` has no weights; empty where it has."""
    if not place.is_done(folder.name):
        return f"{name!r} has no finished run of the first seed: `paribus run` makes it, unless an audit forbids it"
    if (status := place.read_record(folder.name).status) != "done":
        return f"the run of {name!r} {status}"
    if not (folder / WEIGHTS).exists():
        return (
            f"the run of {name!r} kept none: it was made by an older paribus, or for another study where it stands at "
            f"a later seed; delete {folder} and call `paribus run` on this study again, which repeats that run alone"
        )
    return ""


def _built_in(title: str) -> list[Study]:
    """The scales of the built-in study that a registration called ``title`` may come from: "norm-paper-2" from norm."""
    name = title.partition("-")[0]
    return list(read_study(name).scales.values()) if name in built_in_studies() else []


def _require_known(title: str, study: Mapping[str, Any], names: Sequence[str], given: Sequence[Study]) -> None:
    known = {_RETOKENIZED, *(found for each in given for found in _named(each.to_json(), each.arms))}
    unknown = dict.fromkeys(name for at, name in _named(study, names) if (at, name) not in known)
    if unknown:
        raise StudyError(
            f"study {title!r} uses {', '.join(unknown)}, which "
            + ("the study that was given does not name in that place" if given else "no built-in study of its name has")
            + "; nothing is imported from a store: name the study file (--file STUDY.py)"
        )


def _named(study: Mapping[str, Any], arms: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Place and name of every class and function in the JSON of a study that its data and ``arms`` are built from."""
    yield from (("data", name) for name in _references(study["data"]))
    for arm in arms:
        yield from (("model", name) for name in _references(study["arms"][arm]["model"]))
        for field, value in study["arms"][arm]["training"].items():
            yield from ((field, name) for name in _references(value))


def _references(value: Any) -> Iterator[str]:
    """What ``Spec.from_json`` would look up."""
    if isinstance(value, list):
        yield from (found for item in value for found in _references(item))
    elif isinstance(value, Mapping) and "reference" in value:
        yield str(value["reference"])
    elif isinstance(value, Mapping):
        yield str(value.get("class"))
        yield from (found for item in value.get("arguments", {}).values() for found in _references(item))
