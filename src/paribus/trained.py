"""The trained arms of a registered study: found in a store, and read only where what trained them is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.errors import StoreError, StudyError
from paribus.records import WEIGHTS, Store, read_json
from paribus.registration import seeded
from paribus.runs import source_identity
from paribus.specs import Spec
from paribus.study import Arm, Study, Training

if TYPE_CHECKING:
    from torch import nn

    from paribus.data import Corpus

_OURS = ("paribus", "torch", "builtins")  # a worker knows these without a study file


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
    place: Store, registration: Mapping[str, Any], names: Sequence[str], given: Sequence[Study] = ()
) -> dict[str, TrainedArm]:
    """The arms ``names`` of a registered study, with the weights of its first seed.

    Classes that are no part of paribus or torch must be among those that the studies ``given`` name, which are in
    this process already: a store names classes, and nothing is imported from it.
    Raises StudyError for such a class, StoreError for a run without weights, saying why it has none.
    """
    folders = _find_folders(place, registration, names)
    study = registration["study"]
    _require_known(registration["name"], [study["data"], *(study["arms"][name] for name in names)], given)
    return {
        name: TrainedArm(
            name,
            Spec.from_json(study["arms"][name]["model"]),
            Training.from_json(study["arms"][name]["training"]),
            study["first_seed"],
            folder,
        )
        for name, folder in folders.items()
    }


def _find_folders(place: Store, registration: Mapping[str, Any], names: Sequence[str]) -> dict[str, Path]:
    every = {name: place.run_folder(seeded(registration, name)[0][1]) for name in registration["runs"]}
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


def _require_known(title: str, specs: Sequence[Any], given: Sequence[Study]) -> None:
    named = dict.fromkeys(found for each in specs for found in _references(each))
    own = [found for found in named if found.partition(":")[0].partition(".")[0] not in _OURS]
    offered = {found for study in given for found in _references(study.to_json())}
    if missing := [found for found in own if found not in offered]:
        why = "which the study that was given does not name" if given else "which paribus does not have"
        raise StudyError(
            f"study {title!r} uses {', '.join(missing)}, {why}; nothing is imported from a store: name the study file "
            "that has them (--file STUDY.py)"
        )


def _references(value: Any) -> Iterator[str]:
    """The classes and functions that the JSON of specs names."""
    if isinstance(value, Mapping):
        yield from (value[key] for key in ("class", "reference") if isinstance(value.get(key), str))
        yield from (found for item in value.values() for found in _references(item))
    elif isinstance(value, list | tuple):
        yield from (found for item in value for found in _references(item))
