"""The process that does runs until its input ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from importlib import import_module
from typing import Any

from paribus.errors import ParibusError
from paribus.execution.performing import perform
from paribus.experiment.job import Job


def serve() -> None:
    """Do the jobs that arrive on standard input, one JSON line each; events go to standard output.

    Ends when the input ends: a worker never outlives the process that feeds it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and decides
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a user's part prints must not be taken for an event
    wake, jobs, unwanted = threading.Condition(), [], set()

    def listen() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            with wake:
                if "stop" in message:
                    unwanted.add(message["stop"])
                else:
                    unwanted.discard(message["digest"])
                    jobs.append(Job.from_text(line))
                wake.notify()
        os._exit(0)

    def send(**event: Any) -> None:
        try:
            print(json.dumps(event), file=events)
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more

    threading.Thread(target=listen, daemon=True).start()
    # The slow parts of starting, read while the parent still plans: torch, and what its optimizers import when made.
    gc.disable()  # imports make objects by the hundred thousand, and hardly any garbage
    import paribus.nn.contract
    import paribus.training.loop

    import_module("torch._dynamo")
    gc.freeze()
    gc.enable()
    send(event="ready")
    while True:
        with wake:
            wake.wait_for(lambda: jobs)
            job = jobs.pop(0)
        last = 0.0

        def report(line: dict[str, Any], job: Job = job) -> None:
            nonlocal last
            if time.monotonic() - last > 0.2:
                last = time.monotonic()
                send(event="progress", digest=job.digest, line=line)

        def is_unwanted(digest: str = job.digest) -> bool:
            return digest in unwanted

        try:
            record = perform(job, report, is_unwanted)
            send(event="finished", digest=job.digest, status=record.status)
        except paribus.training.loop.Interrupted:
            send(event="stopped", digest=job.digest)
        except ParibusError as error:
            send(event="error", digest=job.digest, message=str(error))


if __name__ == "__main__":
    serve()
