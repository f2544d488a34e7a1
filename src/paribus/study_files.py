"""Study files: a Python file that defines ``study``, and perhaps ``scales``."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from paribus.errors import ParibusError, StudyError
from paribus.study import Study

BUILT_IN = Path(__file__).parent / "studies"
DEFAULT_SCALE = "quick"


@dataclass(frozen=True)
class StudyFile:
    """A study as found in a file: its short name, its path and the scales it offers, the default first."""

    name: str
    path: Path
    scales: dict[str, Study]

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


def read_study(reference: str | Path) -> StudyFile:
    """Read a built-in study by name, or the ``.py`` file of one.

    The file is imported: it is code. Raises StudyError for an unknown name, a missing file, a file that fails
    (with its own traceback, from the file on) and a file that defines no ``study``.
    """
    path = _find(str(reference))
    module = import_file(path)
    study = getattr(module, "study", None)
    if not isinstance(study, Study):
        raise StudyError(f"{path} defines no `study = paribus.Study(...)`; found {type(study).__name__}")
    scales = getattr(module, "scales", {DEFAULT_SCALE: study})
    if not (isinstance(scales, dict) and scales and all(isinstance(s, Study) for s in scales.values())):
        raise StudyError(f"`scales` in {path} must be a dict from a name to a Study")
    return StudyFile(path.stem, path, scales)


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
    module_spec = importlib.util.spec_from_file_location(name, path.resolve())
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise StudyError(f"{path} cannot be read:\n{_own_traceback(error, path)}") from None
    module.paribus_files = _loaded_from(folder)
    return module


def _loaded_from(folder: str) -> dict[str, str]:
    """Modules whose file lies in ``folder`` itself or below, with a digest of what the file holds now."""
    loaded = {}
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        beside = Path(folder) in file.parents and Path(__file__).parent not in [*file.parents, file]
        if beside and "site-packages" not in file.parts and name != "__main__" and file.is_file():
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
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"did you mean {path.parent / close[0]}?" if close else "a study is a .py file that defines `study`"
        raise StudyError(f"no study file {reference}; {hint}")
    close = difflib.get_close_matches(reference, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"built in are {', '.join(known)}; or name a .py file"
    raise StudyError(f"no study {reference!r}; {hint}")


def _own_traceback(error: BaseException, path: Path) -> str:
    """The traceback from the study file on, without our own frames above it; of an error of ours, none below either."""
    frames, own = traceback.extract_tb(error.__traceback__), Path(__file__).parent
    if isinstance(error, ParibusError):
        frames = [f for f in frames if own not in Path(f.filename).parents or BUILT_IN in Path(f.filename).parents]
    first = next((i for i, frame in enumerate(frames) if Path(frame.filename) == path.resolve()), len(frames))
    return "".join([*traceback.format_list(frames[first:][-4:]), *traceback.format_exception_only(error)]).rstrip()
