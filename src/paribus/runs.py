"""Which runs a study asks for: their identity, their pairs, their order."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paribus.specs import Spec
from paribus.study import Arm, Study

# The files of paribus whose source can change what a run computes.
_OWN_SOURCE = ("specs.py", "streams.py", "nn", "data", "training", "execution/worker.py")


@dataclass(frozen=True)
class Environment:
    """What can change a run's numbers and is no part of the study.

    Args:
        data_digest: digest of the prepared tokens, their split and their tokenizer.
        device: "cpu", "cuda" or "mps".
        torch: version of PyTorch.
    """

    data_digest: str
    device: str
    torch: str

    @staticmethod
    def here(data_digest: str, device: str) -> Environment:
        """This machine's."""
        return Environment(data_digest, device, version("torch"))


@dataclass(frozen=True)
class Run:
    """One arm with one seed. ``digest`` names everything that can change its result."""

    arm: str
    seed: int
    digest: str
    identity: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Every run a study may need, pair by pair; ``identities`` holds what all runs of an arm share."""

    study: Study
    environment: Environment
    identities: Mapping[str, Mapping[str, Any]]

    @property
    def seeds(self) -> range:
        return range(self.study.first_seed, self.study.first_seed + self.study.max_seeds)

    def run(self, arm: str, seed: int) -> Run:
        """The run of ``arm`` with ``seed``."""
        identity = {**self.identities[arm], **asdict(self.environment), "seed": seed}
        text = json.dumps(identity, sort_keys=True)
        return Run(arm, seed, hashlib.sha256(text.encode()).hexdigest()[:32], identity)

    def __iter__(self) -> Iterator[Run]:
        """Seed by seed, the baseline before its treatments."""
        return (self.run(arm, seed) for seed in self.seeds for arm in self.study.arms)


def plan(study: Study, environment: Environment) -> Plan:
    """The runs of ``study`` in ``environment``. Raises SpecError for a spec without readable source."""
    return Plan(study, environment, {name: _arm_identity(arm) for name, arm in study.arms.items()})


def _arm_identity(arm: Arm) -> dict[str, Any]:
    specs = [arm.model, arm.training.optimizer, *filter(None, [arm.training.schedule])]
    return {
        "model": arm.model.digest,
        "training": {**arm.training.to_json(), "optimizer": arm.training.optimizer.digest},
        "paribus_source": _own_source(),
        "user_source": {path.name: _source_digest(path) for path in sorted(_user_files(specs))},
    }


@lru_cache(maxsize=1)
def _own_source() -> str:
    root, content = Path(__file__).parent, hashlib.sha256()
    for name in _OWN_SOURCE:
        files = sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
        for file in files:
            content.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return content.hexdigest()


def _user_files(specs: list[Spec]) -> set[Path]:
    """The files of the specs' classes that belong to no installed package, and what those import beside them."""
    found: set[Path] = set()
    things = [thing for spec in specs for node in (spec, *spec.sites().values()) for thing in _things(node)]
    todo = {thing.__module__ for thing in things}
    while todo:
        module = sys.modules.get(todo.pop())
        file = Path(getattr(module, "__file__", None) or "")
        if file.suffix != ".py" or file in found or not _is_users(file):
            continue
        found.add(file)
        for other in list(sys.modules.values()):
            place = Path(getattr(other, "__file__", None) or "")
            if place.suffix == ".py" and file.parent in place.parents and other.__name__ in _imports(file):
                todo.add(other.__name__)
    return found


def _things(node: Spec) -> list[Any]:
    return [node.cls, *(value for _, value in node.arguments if hasattr(value, "__qualname__"))]


def _is_users(file: Path) -> bool:
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    standard = Path(json.__file__).parent.parent in file.parents
    return not installed and not standard and Path(__file__).parent not in file.parents


def _imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _source_digest(file: Path) -> str:
    """Over the syntax tree, so that comments and the ``study`` itself may change without a new run."""
    tree = ast.parse(file.read_text())
    tree.body = [node for node in tree.body if not _assigns_study(node)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _assigns_study(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id in ("study", "scales") for target in targets)
