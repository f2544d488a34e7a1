"""One run, from its job to its record, whatever kind of arm it is."""

from __future__ import annotations

import contextlib
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paribus.design.plugins import PERFORMERS, find_offered
from paribus.design.tracebacks import user_line
from paribus.errors import Diverged, StoreError
from paribus.execution.trained import train_arm
from paribus.experiment.job import Job
from paribus.store.files import held, write_json
from paribus.store.records import Record
from paribus.store.store import Store

Report = Callable[[dict[str, Any]], None]
"""Takes the lines of ``steps.jsonl`` as they are written."""

Stop = Callable[[], bool]
"""Whether the run is to write its checkpoint and end."""

Performer = Callable[[Job, Path, Report, Stop], Record]
"""Does the run of a job in its folder. Raises Interrupted after a ``Stop``, Diverged, and whatever goes wrong."""

OWN: dict[str, Performer] = {"trained": train_arm}
"""Kind of arm to what does its runs; packages offer more in the group ``paribus.performers``."""


def perform(job: Job, report: Report = lambda line: None, stop: Callable[[], bool] = lambda: False) -> Record:
    """Do the run of ``job``, or go on with it, and write its record.

    What is the same for every kind of arm is here: the run is held, done once, and described before it begins; one that
    diverges or raises becomes a record that says so. Raises Interrupted when ``stop`` says so, and StoreError when
    nothing can be written.
    """
    from paribus.training.loop import Interrupted

    store = Store.open(job.store)
    folder = store.run_folder(job.digest)
    with _lease(folder / "lease", stop):
        for left in folder.glob(".*"):  # half-written by a process that was killed
            left.unlink()
        if store.is_done(job.digest):
            return store.read_record(job.digest)
        write_json(folder / "run.json", {"format": 1, "digest": job.digest, **job.identity, **_provenance(job)})
        try:
            record = find_performer(job.kind)(job, folder, report, stop)
        except (StoreError, Interrupted, KeyboardInterrupt):
            raise
        except Diverged as error:
            record = Record(
                job.digest, job.seed, "diverged", error=str(error), metrics={"diverged_step": float(error.step)}
            )
        except Exception as error:
            # The worker's edge: whatever a user's part raises becomes a record with its traceback.
            place = user_line(error)
            shown = f"{type(error).__name__}: {error}{place}\n{traceback.format_exc(limit=-6).rstrip()}{place}"
            record = Record(job.digest, job.seed, "failed", error=shown)
        store.write_record(record)
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def find_performer(kind: str) -> Performer:
    """What does the runs of a ``kind`` of arm.

    Raises StudyError for a kind that no package offers, or more than one, and for an offer that cannot be imported.
    """
    return OWN[kind] if kind in OWN else find_offered(PERFORMERS, "performer of arms", kind, OWN)[1]


@contextlib.contextmanager
def _lease(path: Path, stop: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other process works on this run: one that lost its parent may still be ending."""
    from paribus.training.loop import Interrupted

    while True:
        with held(path) as free:
            if free:
                yield
                return
        if stop():
            raise Interrupted
        time.sleep(0.1)


def _provenance(job: Job) -> dict[str, Any]:
    packages = {name: version(name) for name in ("paribus", "torch", "numpy", "tokenizers", "scipy")}
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    return {
        "specs": {**job.arm, "data": job.data},
        "packages": packages,
        "measured": machine,
    }
