"""Files written whole or not at all, and read with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paribus.errors import StoreError

FORMAT = 1


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to hold the lock file ``path``; yields whether it was free. The system frees it when we die."""
    from filelock import FileLock, Timeout  # it takes a tenth of a second, and only a writer needs it

    lock = FileLock(path, blocking=False, fallback_to_soft=False)  # a soft lock would outlive a process that is killed
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Timeout):
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` whole or not at all. Raises StoreError when the disk is full or the place not writable."""
    write_bytes(path, pack_json(data))


def pack_json(data: Any) -> bytes:
    """The content of a JSON file that people read, too; NaN and infinities become null."""
    return (json.dumps(_without_nan(data), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` whole or not at all: to a temporary file, to the disk, then renamed."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises StoreError when it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; {remedy_for(path)}") from None


def read_json(path: Path, kind: type = dict) -> Any:
    """The content of a JSON file. Raises StoreError when it is missing, damaged, or no ``kind``."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; {remedy_for(path)}") from None
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}); {remedy_for(path)}") from None
    if not isinstance(data, kind):
        raise StoreError(
            f"{path} is damaged (it holds a {type(data).__name__}, expected {kind.__name__}); {remedy_for(path)}"
        )
    return data


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file. Raises StoreError for a damaged line, by number."""
    lines = []
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise StoreError(f"{path}:{number} is damaged: {line[:40]!r}; {remedy_for(path)}") from None
    return lines


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about a write inside into a StoreError."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise StoreError(f"cannot write {path}: {why}; what was finished before is kept") from None


def remedy_for(path: Path) -> str:
    """What to do about a file of a store that is missing or damaged, so that nothing else is lost."""
    place = path.parent
    if place.parent.name == "runs":
        return f"delete {place} and call `paribus run` again: that run alone is done anew"
    if path.name == "registration.json":
        return (
            "nothing writes it anew: restore it from a copy, or move "
            f"{place} away and call `paribus run` again, which registers the study anew and keeps its finished runs"
        )
    return _REMEDIES.get(path.name if place.name != "nulls" else "nulls", "call `paribus run` again")


_REMEDIES = {
    "store.json": f'write {{"format": {FORMAT}}} into it: it holds nothing else',
    "findings.json": "call `paribus run` again, which writes it anew",
    "timing.json": "delete it and call `paribus time` again",
    "nulls": "delete it and call `paribus calibrate` again: its finished runs are kept",
    "verdicts.json": "call `paribus report`, which writes it anew",
    "report.json": "call `paribus report`, which writes it anew",
}


def _without_nan(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
