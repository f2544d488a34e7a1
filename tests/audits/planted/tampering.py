"""What careless or dishonest hands do to a store after the runs."""

import json
from pathlib import Path


def folders_of(store, arm):
    """The folders of the runs of ``arm`` that are done, in the order of their seeds."""
    (registration,) = Path(store).glob("studies/*/registration.json")
    digests = json.loads(registration.read_text())["runs"][arm]
    folders = [Path(store) / "runs" / digest for digest in digests]
    return [folder for folder in folders if (folder / "result.json").exists()]


def edit_records(store, arm, change):
    """Call ``change`` with the content of every ``result.json`` of ``arm``, and write what it made of it."""
    for folder in folders_of(store, arm):
        record = json.loads((folder / "result.json").read_text())
        change(record)
        (folder / "result.json").write_text(json.dumps(record))
