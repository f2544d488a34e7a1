"""A folder of runs and studies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.errors import StoreError
from paribus.store.files import FORMAT, held, read_json, read_jsonl, remedy_for, write_json
from paribus.store.records import Record

DEFAULT_STORE = "paribus-store"

WEIGHTS = "weights.pt"


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
            raise StoreError(f"{path} is damaged ({error}); {remedy_for(path)}") from None
        if record.digest != digest:
            raise StoreError(f"{path} is the result of run {record.digest}; {remedy_for(path)}")
        return record

    def write_record(self, record: Record) -> None:
        write_json(self.run_folder(record.digest) / "result.json", record.to_json())

    def read_steps(self, digest: str) -> list[dict[str, Any]]:
        """The lines of ``steps.jsonl``. Raises StoreError for a damaged line, by number."""
        return read_jsonl(self.run_folder(digest) / "steps.jsonl")


def _require_no_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; a store is a folder")
