"""What lies on disk: findings, records of runs, and the store that holds them.

A store is a folder a person can read::

    runs/<digest>/run.json        what was to be run: written first
    runs/<digest>/steps.jsonl     one line per optimizer step
    runs/<digest>/weights.pt      the trained weights, of the first seed's runs alone
    runs/<digest>/result.json     what came out: written last, and only whole; its presence is "done"
    studies/<name>/registration.json, findings.json, verdicts.json, report.*

What a clock or a memory counter says lies in ``measured`` blocks. Everything outside them is
reproducible to the bit on one machine.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paribus.errors import StoreError

FORMAT = 1
SEVERITIES = ("note", "doubt", "invalid")
DEFAULT_STORE = "paribus-store"
WEIGHTS = "weights.pt"


@dataclass(frozen=True)
class Finding:
    """A reason to doubt a comparison.

    Args:
        check: name of the audit that found it, such as "causality".
        severity: "note" (worth knowing), "doubt" (weakens the verdict), "invalid" (no verdict stands).
        message: one sentence with the evidence in it.
        arm: the arm it concerns; None for the whole study.
        site: the path of the part, where one is to blame.
        evidence: the numbers, by name.
        remedy: what to do about it.
    """

    check: str
    severity: str
    message: str
    arm: str | None = None
    site: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {SEVERITIES}, got {self.severity!r}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Record:
    """What one run left behind.

    Args:
        digest: identity of the run; names its folder.
        seed: the replicate.
        status: "done", "diverged" (not finite; a result, not an accident) or "failed" (an error).
        metrics: final numbers by name; see docs/report_schema.md.
        evaluations: one entry per scheduled evaluation: step, tokens, loss and so on; see ``loss_curve``.
        documents: per held-out document ``tokens`` (count) and ``loss`` (sum in nats), equal order in all runs.
        pairing: digests that two members of a pair must share: initial weights by path, batches, evaluation tokens,
            and the source of paribus ("code").
        sites: path of every part that fills a slot to what it looks like on one more batch after the last step:
            ``output_rms`` and ``gradient_rms`` (root mean squares), and ``unmoved``, the share of its trainable
            parameters in tensors that kept their initial bits; a number that a part does not have is absent.
        error: for "diverged" and "failed", what happened.
        measured: what a clock or memory counter said; never equal between two runs.
    """

    digest: str
    seed: int
    status: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[Mapping[str, Any], ...] = ()
    documents: Mapping[str, list[float]] = field(default_factory=dict)
    pairing: Mapping[str, Any] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Record:
        fields = {key: value for key, value in data.items() if key != "format"}
        fields["evaluations"] = tuple(fields.get("evaluations", ()))
        return Record(**fields)


def loss_curve(evaluations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Those of a run's evaluations that scored the same tokens.

    The last one scored the result on all held-out tokens. Where the others scored some of the tokens, or weights that
    are not averaged, so did the last but one, after as much training.
    """
    is_apart = len(evaluations) > 1 and evaluations[-1]["tokens"] == evaluations[-2]["tokens"]
    return evaluations[:-1] if is_apart else evaluations


@dataclass(frozen=True)
class Store:
    """A folder of runs and studies. Reading needs nothing but this folder; nothing is imported from it."""

    folder: Path

    @staticmethod
    def create(folder: str | Path) -> Store:
        """The store at ``folder``, made if it is not there.

        Raises StoreError when the folder cannot be written, is no store, or has another format.
        """
        store = Store(Path(folder))
        _require_no_file(store.folder)
        if not (store.folder / "store.json").exists():
            # Names with a dot are a file manager's, or the temporary file of a first write that was killed.
            if store.folder.is_dir() and any(not path.name.startswith(".") for path in store.folder.iterdir()):
                raise StoreError(f"{folder} is not empty and is no paribus store; name another folder")
            write_json(store.folder / "store.json", {"format": FORMAT})
        return Store.open(folder)

    @staticmethod
    def open(folder: str | Path) -> Store:
        """The store at ``folder``. Raises StoreError when there is none, or one of another format."""
        store = Store(Path(folder))
        _require_no_file(store.folder)
        marker = store.folder / "store.json"
        if not marker.exists():
            raise StoreError(f"no paribus store at {folder}; `paribus run STUDY --store {folder}` makes one")
        if (found := read_json(marker).get("format")) != FORMAT:
            raise StoreError(f"{folder} was written in format {found}; this paribus reads and writes format {FORMAT}")
        return store

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for one writer. Raises StoreError when another process holds it."""
        with held(self.folder / "lock") as free:
            if not free:
                raise StoreError(f"another `paribus run` is using {self.folder}; wait for it, or name another --store")
            yield

    def run_folder(self, digest: str) -> Path:
        return self.folder / "runs" / digest

    def study_folder(self, name: str) -> Path:
        return self.folder / "studies" / name

    def study_names(self) -> list[str]:
        """The studies registered here, by name."""
        return sorted(path.parent.name for path in (self.folder / "studies").glob("*/registration.json"))

    def is_done(self, digest: str) -> bool:
        return (self.run_folder(digest) / "result.json").exists()

    def read_record(self, digest: str) -> Record:
        """The record of a finished run. Raises StoreError when it is missing or damaged."""
        path = self.run_folder(digest) / "result.json"
        data = read_json(path)
        if data.get("format") != FORMAT:
            raise StoreError(f"{path} was written in format {data.get('format')}; this paribus reads format {FORMAT}")
        try:
            record = Record.from_json(data)
        except TypeError as error:
            raise StoreError(f"{path} is damaged ({error}); {_mend(path)}") from None
        if record.digest != digest:
            raise StoreError(f"{path} is the result of run {record.digest}; {_mend(path)}")
        return record

    def write_record(self, record: Record) -> None:
        write_json(self.run_folder(record.digest) / "result.json", record.to_json())

    def read_steps(self, digest: str) -> list[dict[str, Any]]:
        """The lines of ``steps.jsonl``. Raises StoreError for a damaged line, by number."""
        return read_jsonl(self.run_folder(digest) / "steps.jsonl")


def _require_no_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; a store is a folder")


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Try to hold the lock file ``path``; yields whether it was free. The system frees it when we die."""
    import fcntl

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` whole or not at all. Raises StoreError when the disk is full or the place not writable."""
    write_text(path, json.dumps(_without_nan(data), indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all: to a temporary file, to the disk, then renamed."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` whole or not at all."""
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


def read_json(path: Path, kind: type = dict) -> Any:
    """The content of a JSON file. Raises StoreError when it is missing, damaged, or no ``kind``."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; {_mend(path)}") from None
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}); {_mend(path)}") from None
    if not isinstance(data, kind):
        raise StoreError(
            f"{path} is damaged (it holds a {type(data).__name__}, expected {kind.__name__}); {_mend(path)}"
        )
    return data


def read_findings(path: Path) -> list[Finding]:
    """The findings in a JSON file. Raises StoreError when it is missing or damaged."""
    try:
        return [Finding(**finding) for finding in read_json(path, list)]
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); {_mend(path)}") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file. Raises StoreError for a damaged line, by number."""
    lines = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; {_mend(path)}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise StoreError(f"{path}:{number} is damaged: {line[:40]!r}; {_mend(path)}") from None
    return lines


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about a write inside into a StoreError."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise StoreError(f"cannot write {path}: {why}; what was finished before is kept") from None


def _mend(path: Path) -> str:
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
    "timing.json": "delete it and call `paribus run --timing` again",
    "nulls": "delete it and call `paribus run --null` again: its finished runs are kept",
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
