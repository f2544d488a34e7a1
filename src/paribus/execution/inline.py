"""Jobs done one after the other in this process."""

from __future__ import annotations

from typing import Any

from paribus.execution.processes import Observe
from paribus.execution.single_run import perform
from paribus.experiment.job import NextJob, Wanted


def execute_inline(next_job: NextJob, observe: Observe, wanted: Wanted) -> None:
    """Do the jobs one after the other in this process. Raises what a store that cannot be written raises."""
    while (job := next_job()) is not None:
        observe({"event": "started", "digest": job.digest})

        def report(line: dict[str, Any], digest: str = job.digest) -> None:
            observe({"event": "progress", "digest": digest, "line": line})

        record = perform(job, report)
        observe({"event": "finished", "digest": job.digest, "status": record.status})
