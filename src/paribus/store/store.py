"""Runs and studies, and what is known about them.

A store is a folder a person can read::

    runs/<digest>/run.json        what was to be run: written first
    runs/<digest>/steps.jsonl     one line per optimizer step
    runs/<digest>/weights.pt      the trained weights, of the first seed's runs alone
    runs/<digest>/result.json     what came out: written last, and only whole; its presence is "done"
    studies/<name>/registration.json, findings.json, timing.json, verdicts.json, report.*
    nulls/<name>.json             a baseline against itself

What a clock or a memory counter says lies in ``measured`` blocks. Everything outside them is
reproducible to the bit on one machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.design.digests import digest_json
from paribus.design.wording import suggest
from paribus.errors import JudgementError, StoreError
from paribus.store.files import FORMAT, held, read_bytes, read_json, read_jsonl, remedy_for, write_bytes, write_json
from paribus.store.records import Finding, Record

DEFAULT_STORE = "paribus-store"

WEIGHTS = "weights.pt"
"""The file of a run's folder in which its performer leaves the trained weights."""


@dataclass(frozen=True)
class Store:
    """Runs by digest and studies by name. Reading needs nothing but this folder; nothing is imported from it.

    Contents go in and out, and no path: only the process that performs a run is given a folder to work in, see
    ``hold_run``. What raises StoreError names the file and what to do about it.
    """

    _folder: Path

    @staticmethod
    def create(folder: str | Path) -> Store:
        """The store at ``folder``, made if it is not there.

        Raises StoreError when the folder cannot be written, is no store, or has another format.
        """
        path = Path(folder)
        _require_no_file(path)
        if not (path / "store.json").exists():
            # Names with a dot are a file manager's, or the temporary file of a first write that was killed.
            if path.is_dir() and any(not inner.name.startswith(".") for inner in path.iterdir()):
                raise StoreError(f"{folder} is not empty and is no paribus store; name another folder")
            write_json(path / "store.json", {"format": FORMAT})
        return Store.open(folder)

    @staticmethod
    def open(folder: str | Path) -> Store:
        """The store at ``folder``. Raises StoreError when there is none, or one of another format."""
        path = Path(folder)
        _require_no_file(path)
        marker = path / "store.json"
        if not marker.exists():
            raise StoreError(f"no paribus store at {folder}; `paribus run STUDY --store {folder}` makes one")
        if (found := read_json(marker).get("format")) != FORMAT:
            raise StoreError(f"{folder} was written in format {found}; this paribus reads and writes format {FORMAT}")
        return Store(path)

    def __str__(self) -> str:
        return str(self._folder)

    @property
    def address(self) -> str:
        """What ``open`` takes in any process of this machine."""
        return str(self._folder.resolve())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for one writer. Raises StoreError when another process holds it."""
        with held(self._folder / "lock") as free:
            if not free:
                raise StoreError(f"another `paribus run` is using {self}; wait for it, or name another --store")
            yield

    # Runs.

    @contextlib.contextmanager
    def hold_run(self, digest: str) -> Iterator[Path | None]:
        """Hold a run for the one process that performs it: its folder to work in, or None where another holds it.

        Its performer leaves ``steps.jsonl`` there, and ``WEIGHTS``, and what it needs while the run lasts.
        """
        folder = self._run(digest)
        with held(folder / "lease") as free:
            if free:
                for left in folder.glob(".*"):  # half-written by a process that was killed
                    left.unlink()
            yield folder if free else None

    def is_started(self, digest: str) -> bool:
        return (self._run(digest) / "run.json").exists()

    def is_done(self, digest: str) -> bool:
        return (self._run(digest) / "result.json").exists()

    def count_finished(self) -> int:
        """Finished runs, of whatever study."""
        return len(list(self._folder.glob("runs/*/result.json")))

    def read_run(self, digest: str) -> dict[str, Any]:
        """What was to be run: the identity, and where it came from."""
        return read_json(self._run(digest) / "run.json")

    def write_run(self, digest: str, content: Mapping[str, Any]) -> None:
        write_json(self._run(digest) / "run.json", {"format": FORMAT, "digest": digest, **content})

    def read_record(self, digest: str) -> Record:
        """The record of a finished run. Raises StoreError when it is missing or damaged."""
        path = self._run(digest) / "result.json"
        data = read_json(path)
        if data.get("format") != FORMAT:
            raise StoreError(f"{path} was written in format {data.get('format')}; this paribus reads format {FORMAT}")
        try:
            record = Record.from_json(data)
        except TypeError as error:
            raise StoreError(f"{path} is damaged ({error}); {remedy_for(path)}") from None
        if record.digest != digest:
            raise StoreError(f"{path} is the result of run {record.digest}; {remedy_for(path)}")
        return record

    def write_record(self, record: Record) -> None:
        """The last that is written of a run: it is done."""
        write_json(self._run(record.digest) / "result.json", record.to_json())

    def forget_record(self, digest: str) -> None:
        """Make a run one that is not done, so that it is tried again."""
        (self._run(digest) / "result.json").unlink(missing_ok=True)

    def read_steps(self, digest: str) -> list[dict[str, Any]]:
        """The lines of ``steps.jsonl``. Raises StoreError for a damaged line, by number."""
        return read_jsonl(self._run(digest) / "steps.jsonl")

    def has_weights(self, digest: str) -> bool:
        return (self._run(digest) / WEIGHTS).exists()

    def read_weights(self, digest: str) -> bytes:
        """The trained weights of a run. Raises StoreError where it kept none."""
        return read_bytes(self._run(digest) / WEIGHTS)

    def where_is(self, digest: str) -> str:
        """Where a run lies, for a message."""
        return str(self._run(digest))

    # Studies.

    def study_names(self) -> list[str]:
        """The studies registered here, by name."""
        return sorted(path.parent.name for path in self._folder.glob("studies/*/registration.json"))

    def read_registration(self, name: str) -> dict[str, Any]:
        """What was registered as study ``name``.

        Raises StoreError when there is none or it is damaged, JudgementError when it was edited.
        """
        path = self._study(name) / "registration.json"
        if not path.exists():
            known = self.study_names()
            raise StoreError(f"{self} holds no study {name!r}; {suggest(name, known) if known else 'it holds none'}")
        content = read_json(path)
        if content.get("digest") != digest_json({key: value for key, value in content.items() if key != "digest"}):
            raise JudgementError(f"{path} was changed after it was written; a registered study cannot be edited")
        if content["format"] != FORMAT:
            raise StoreError(f"{path} was written in format {content['format']}; this paribus reads format {FORMAT}")
        return content

    def write_registration(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self._study(name) / "registration.json", content)

    def read_findings(self, name: str) -> list[Finding]:
        """What the audits found in the design of a study. Raises StoreError when that is missing or damaged."""
        path = self._study(name) / "findings.json"
        try:
            return [Finding(**{**found, "bars": tuple(found.get("bars", ()))}) for found in read_json(path, list)]
        except (TypeError, ValueError) as error:
            raise StoreError(f"{path} is damaged ({error}); {remedy_for(path)}") from None

    def write_findings(self, name: str, findings: Sequence[Finding]) -> None:
        write_json(self._study(name) / "findings.json", [finding.to_json() for finding in findings])

    def read_timing(self, name: str) -> dict[str, Any] | None:
        """The measured times of a study's arms; None where they were not timed."""
        path = self._study(name) / "timing.json"
        return read_json(path)["measured"] if path.exists() else None

    def write_timing(self, name: str, measured: Mapping[str, Any]) -> None:
        write_json(self._study(name) / "timing.json", {"measured": measured})

    def write_pages(self, name: str, pages: Mapping[str, bytes]) -> dict[str, str]:
        """Write verdicts and reports of a study, each file whole or not at all; where each lies."""
        for file, content in pages.items():
            write_bytes(self._study(name) / file, content)
        return {file: str(self._study(name) / file) for file in pages}

    # Baselines against themselves.

    def null_names(self) -> list[str]:
        """The studies that were calibrated, by name."""
        return sorted(path.stem for path in self._folder.glob("nulls/*.json"))

    def write_null(self, name: str, content: Mapping[str, Any]) -> str:
        """Write the calibration of a study; where it lies."""
        path = self._folder / "nulls" / f"{name}.json"
        write_json(path, content)
        return str(path)

    def _run(self, digest: str) -> Path:
        return self._folder / "runs" / digest

    def _study(self, name: str) -> Path:
        return self._folder / "studies" / name


def _require_no_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; a store is a folder")
