"""Tracebacks that show the user's lines and leave out ours."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from paribus.errors import ParibusError

BUILT_IN = Path(__file__).parents[1] / "studies"


def own_traceback(error: BaseException, path: Path) -> str:
    """The traceback from the study file on, without our own frames above it; of an error of ours, none below either."""
    frames: list[traceback.FrameSummary] = list(traceback.extract_tb(error.__traceback__))
    own = Path(__file__).parents[1]
    if isinstance(error, ParibusError):
        frames = [f for f in frames if own not in Path(f.filename).parents or BUILT_IN in Path(f.filename).parents]
    first = next((i for i, frame in enumerate(frames) if Path(frame.filename) == path.resolve()), len(frames))
    return "".join([*traceback.format_list(frames[first:][-4:]), *traceback.format_exception_only(error)]).rstrip()


def user_line(error: BaseException) -> str:
    """Where code of the user's own raised ``error``, as `` (norm.py:12 in forward)``; "" where none of it ran.

    That is the innermost frame that is neither of paribus, nor of an installed package or the standard library.
    """
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        folders = Path(frame.filename).parents
        is_ours = Path(__file__).parents[1] in folders and BUILT_IN not in folders
        if not (is_ours or frame.filename.startswith("<") or any(folder in folders for folder in installed)):
            return f" ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"
    return ""
