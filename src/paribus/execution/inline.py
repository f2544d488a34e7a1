"""Jobs done one after the other in this process."""

from __future__ import annotations

from typing import Any, Self

from paribus.execution.performing import perform
from paribus.experiment.executor import NextJob, Resources, Wanted
from paribus.store.events import Observe


class InThisProcess:
    """Does the jobs one after the other; on an interrupt a run keeps its last checkpoint."""

    sees_main = True

    def __init__(self, resources: Resources):
        """It takes whatever this process has."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def execute(self, next_job: NextJob, observe: Observe, wanted: Wanted) -> None:
        """Do the jobs. Raises what a store that cannot be written raises."""
        while (job := next_job()) is not None:
            observe({"event": "started", "digest": job.digest})

            def report(line: dict[str, Any], digest: str = job.digest) -> None:
                observe({"event": "progress", "digest": digest, "line": line})

            record = perform(job, report)
            observe({"event": "finished", "digest": job.digest, "status": record.status})
