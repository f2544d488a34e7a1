"""Study files: a Python file that defines ``study``, and perhaps ``scales``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from paribus.design.plugins import STUDIES, Fault, Offer, import_offered, list_offers
from paribus.design.study import Study
from paribus.design.tracebacks import BUILT_IN, own_traceback
from paribus.design.trees import shorten
from paribus.design.wording import nearest, suggest
from paribus.errors import StudyError

DEFAULT_SCALE = "quick"


@dataclass(frozen=True)
class StudyFile:
    """A study as found in a file: its short name, its path and the scales it offers, the default first.

    Args:
        package: the installed package that offers it as a plug-in; "" for a file of paribus's or of the user's.
    """

    name: str
    path: Path
    scales: dict[str, Study]
    package: str = ""

    def choose(self, scale: str | None = None) -> Study:
        """The study at ``scale``. Raises StudyError for a scale the file does not offer."""
        if scale is None:
            return next(iter(self.scales.values()))
        if scale not in self.scales:
            raise StudyError(f"{self.name} has no scale {scale!r}; it offers {', '.join(self.scales)}")
        return self.scales[scale]


def built_in_studies() -> dict[str, Path]:
    """The studies that ship with paribus, by name."""
    return {path.stem: path for path in sorted(BUILT_IN.glob("*.py")) if path.stem != "__init__"}


def offered_studies() -> tuple[dict[str, Offer], tuple[Fault, ...]]:
    """The studies that installed packages offer, by name, and the offers that are left out. Imports none of them.

    A name that a built-in study has, or that two packages offer, stands for no plug-in.
    """
    known, offers, faults = built_in_studies(), list_offers(STUDIES), []
    for offer in offers:
        others = [other.package for other in offers if other.name == offer.name and other != offer]
        if offer.name in known:
            faults.append(Fault(offer, "it is left out, a built-in study has that name"))
        elif not re.fullmatch(r"\w[\w-]*", offer.name):
            faults.append(Fault(offer, "a study's name is made of letters, digits, - and _"))
        elif offer.attribute:
            faults.append(Fault(offer, f"a study is a module; its entry point names {offer.module} alone"))
        elif others:
            faults.append(Fault(offer, f"it is left out, {', '.join(others)} offers another study of that name"))
    left_out = {fault.offer for fault in faults}
    return {offer.name: offer for offer in offers if offer not in left_out}, tuple(faults)


def read_study(reference: str | Path) -> StudyFile:
    """Read a built-in study by name, one that an installed package offers, or the ``.py`` file of one.

    The file is imported: it is code. Raises StudyError for an unknown name, a missing file, a file that fails
    (with its own traceback, from the file on) and a file that defines no ``study``.
    """
    reference = str(reference)
    if reference not in built_in_studies() and reference in (offers := offered_studies()[0]):
        return _read_offered(offers[reference])
    path = _find(reference)
    return StudyFile(path.stem, path, _scales(import_file(path), path))


def _read_offered(offer: Offer) -> StudyFile:
    """A plug-in is imported under its own name: its classes are found by it, in a worker too."""
    try:
        module = import_offered(offer)
    except ImportError as error:
        cause = "".join(traceback.format_exception(error.__cause__, limit=-2)).rstrip()
        raise StudyError(f"{Fault(offer, str(error))}\n{cause}") from None
    path = Path(module.__file__ or "")
    try:
        return StudyFile(offer.name, path, _scales(module, path), offer.package)
    except StudyError as error:
        raise StudyError(str(Fault(offer, str(error)))) from None


def _scales(module: ModuleType, path: Path) -> dict[str, Study]:
    study = getattr(module, "study", None)
    if not isinstance(study, Study):
        others = [name for name, value in vars(module).items() if isinstance(value, Study)]
        found = f"it has {others[0]!r}: call that `study`" if others else _what_else(module, path)
        raise StudyError(f"{path} defines no `study = paribus.Study(...)`; {found}")
    scales = getattr(module, "scales", {DEFAULT_SCALE: study})
    if not (isinstance(scales, dict) and scales and all(isinstance(s, Study) for s in scales.values())):
        raise StudyError(f"`scales` in {path} must be a dict from a name to a Study")
    return scales


def _what_else(module: ModuleType, path: Path) -> str:
    """What a file without a study has in its place."""
    if hasattr(module, "study"):
        return f"its `study` is the {type(module.study).__name__} {shorten(module.study)}"
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    if not classes:
        return "it defines no study and no class"
    defined = f"it defines the class{'es' * (len(classes) > 1)} {', '.join(c.__name__ for c in classes)}"
    torch = sys.modules.get("torch")  # a file that has a module of torch has imported it
    parts = [c.__name__ for c in classes if torch and issubclass(c, torch.nn.Module)]
    if not parts:
        return defined
    return (
        f"{defined}. `paribus examine {path}:{parts[0]}` examines a class, `paribus try {path}:{parts[0]}` studies it"
    )


def import_file(path: Path) -> ModuleType:
    """Import ``path`` under the name ``study_<stem>``, its folder on the module search path.

    It is imported once, and again, with what it imports from its folder, when one of these files has changed.
    Raises StudyError with the file's own traceback when it fails.
    """
    name = f"study_{path.stem}"
    folder = str(path.resolve().parent)
    known = sys.modules.get(name)
    if known is not None:
        if Path(known.__file__ or "") == path.resolve() and known.paribus_files.items() <= _loaded_from(folder).items():
            return known
        for other in _loaded_from(folder):
            del sys.modules[other]
    if folder not in sys.path and Path(folder) != BUILT_IN:
        sys.path.append(folder)
    module = _execute(name, path)
    vars(module)["paribus_files"] = _loaded_from(folder)
    return module


def _execute(name: str, path: Path) -> ModuleType:
    module_spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert module_spec and module_spec.loader  # the path ends in .py
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise StudyError(f"{path} cannot be read:\n{own_traceback(error, path)}") from None
    return module


def _loaded_from(folder: str) -> dict[str, str]:
    """Modules whose file lies in ``folder`` itself or below, with a digest of what the file holds now."""
    loaded = {}
    for name, module in list(sys.modules.items()):
        if name == "__main__" or not str(getattr(module, "__file__", None) or "").startswith(folder):
            continue
        file = Path(module.__file__ or "")
        beside = Path(folder) in file.parents and Path(__file__).parents[1] not in [*file.parents, file]
        if beside and "site-packages" not in file.parts and file.is_file():
            loaded[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return loaded


def _find(reference: str) -> Path:
    known = built_in_studies()
    if reference in known:
        return known[reference]
    path = Path(reference)
    if path.is_file() and path.suffix == ".py":
        return path
    if path.suffix == ".py" or os.sep in reference:
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"did you mean {path.parent / close}?" if close else "a study is a .py file that defines `study`"
        raise StudyError(f"no study file {reference}; {hint}")
    offered, faults = offered_studies()
    for fault in faults:
        if fault.offer.name == reference:
            raise StudyError(str(fault))
    there = f"built in are {', '.join(known)}" + (f", packages offer {', '.join(offered)}" if offered else "")
    hint = suggest(reference, [*known, *offered], otherwise=f"{there}; or name a .py file")
    raise StudyError(f"no study {reference!r}; {hint}")
