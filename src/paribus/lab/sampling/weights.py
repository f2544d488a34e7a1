"""The trained arms of a registered study: found in a store, and read only where what trained them is at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from paribus.design.recipe import Training
from paribus.design.specs import Spec, reference, resolve
from paribus.design.study import Arm, Study
from paribus.design.study_files import offered_studies
from paribus.errors import StoreError, StudyError
from paribus.lab.request import name_after
from paribus.store.files import read_json
from paribus.store.identity import source_identity
from paribus.store.store import WEIGHTS, Store

if TYPE_CHECKING:
    from torch import nn

    from paribus.data import Corpus

_OURS = ("paribus", "torch", "builtins")  # a worker knows these without a study file
_HOMES = {
    "data": ("paribus.data",),
    "model": ("paribus.nn", "torch.nn", "torch._C._nn"),  # the last has what torch.nn.functional writes in C++
    "optimizer": ("paribus.training", "torch.optim"),
    "schedule": ("paribus.training", "torch.optim"),
}
_FITTING = {
    "data": "a corpus or tokenizer that paribus.data offers",
    "model": "a module of paribus.nn or torch.nn, or a function of paribus.nn or torch.nn.functional",
    "optimizer": "an optimizer of paribus.training or torch.optim",
    "schedule": "a schedule of paribus.training or torch.optim",
}


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

    A store names what is to be built, and may come from anywhere. So each class and function must be one that paribus
    or torch has for its place, or one that the studies ``given``, which are in this process already, have there.
    Raises StudyError for any other, StoreError for a run without weights, saying why it has none.
    """
    folders = _find_folders(place, registration, names)
    study = registration["study"]
    _require_known(registration, names, given)
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
    every = {name: place.run_folder(registration["runs"][name][0]) for name in registration["runs"]}
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


def _require_known(registration: Mapping[str, Any], names: Sequence[str], given: Sequence[Study]) -> None:
    title = registration["name"]
    offered = {found for study in given for found in _named(study.to_json(), study.arms)}
    unknown = [found for found in dict.fromkeys(_named(registration["study"], names)) if found not in offered]
    own = [name for _, name in unknown if name.partition(":")[0].partition(".")[0] not in _OURS]
    if own:
        why = "which the study that was given does not name in that place" if given else "which paribus does not have"
        raise StudyError(
            f"study {title!r} uses {', '.join(dict.fromkeys(own))}, {why}; nothing is imported from a store: name the "
            f"study file that has them (--file {_study_file(registration, own)})"
        )
    for place, name in unknown:
        if not _fits(place, name):
            raise StudyError(
                f"study {title!r} has {name} as its {place}, which can only be {_FITTING.get(place, 'a plain value')}, "
                "or what a study that is given has there; nothing else is built because a store names it"
            )


def _study_file(registration: Mapping[str, Any], missing: Sequence[str]) -> str:
    """The file that defined the study, as far as its name or those of its classes tell."""
    modules = [name.partition(":")[0] for name in missing]
    if files := [module.removeprefix("study_") for module in modules if module.startswith("study_")]:
        return f"{files[0]}.py"
    name = registration["name"]
    if name.startswith(name_after(registration["study"]["question"])):
        return "STUDY.py"  # it was no file
    name = re.sub(r"(-on-.*?)?(-confirm)?(-\d+)?$", "", name)
    return name if name in offered_studies()[0] else f"{name}.py"


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


def _fits(place: str, name: str) -> bool:
    """Whether ``name`` is where its class or function is defined, and paribus or torch has it for that place.

    Of other modules none is imported, and none is reached through a module that imports it.
    Raises SpecError for a name that is not there.
    """
    module = name.partition(":")[0]
    if not any(f"{module}.".startswith(f"{home}.") for home in _HOMES.get(place, ())):
        return False
    thing = resolve(name)
    if not isinstance(thing, type | FunctionType | BuiltinFunctionType) or reference(thing) != name:
        return False
    if place == "model":
        return _is_of_a_model(thing)
    return isinstance(thing, type) and _is_of_a_recipe(place, thing)


def _is_of_a_model(thing: Any) -> bool:
    import torch

    import paribus.nn

    if _is_offered(paribus.nn, thing):
        return True
    if isinstance(thing, type):
        return issubclass(thing, torch.nn.Module)
    return getattr(torch.nn.functional, thing.__name__, None) is thing


def _is_of_a_recipe(place: str, thing: type) -> bool:
    import torch

    import paribus.data
    import paribus.training

    if place == "data":
        return _is_offered(paribus.data, thing)
    kind = torch.optim.Optimizer if place == "optimizer" else torch.optim.lr_scheduler.LRScheduler
    return _is_offered(paribus.training, thing) or issubclass(thing, kind)


def _is_offered(room: ModuleType, thing: Any) -> bool:
    return thing.__name__ in room.__all__ and getattr(room, thing.__name__) is thing
