"""Jobs done in worker processes on this machine, one per slot."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar

from paribus.errors import ParibusError, StoreError
from paribus.execution.devices import local_slots
from paribus.experiment.executor import NextJob, Resources, Wanted
from paribus.store.events import Observe


def start_workers(resources: Resources) -> LocalWorkers:
    """Workers for ``resources``: see ``local_slots``."""
    return LocalWorkers(local_slots(resources.device, resources.n_runs, resources.workers))


@dataclass
class LocalWorkers:
    """Worker processes on this machine, started at once and used for many runs.

    Args:
        slots: environment variables of each worker; one worker per entry.
    """

    sees_main: ClassVar[bool] = False

    slots: list[dict[str, str]]
    processes: list[subprocess.Popen] = field(default_factory=list)
    events: queue.Queue = field(default_factory=queue.Queue)

    def __enter__(self) -> LocalWorkers:
        search_path = os.pathsep.join(path for path in sys.path if path)  # a worker finds the user's modules as we do
        for index, variables in enumerate(self.slots):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "paribus.execution.worker"],  # a queue.py lying here is not the library's
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": search_path, **variables},
                start_new_session=True,  # Ctrl-C is for us: we ask the workers for their checkpoints
            )
            self.processes.append(process)
            threading.Thread(target=self._listen, args=(index,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers: they leave when their input ends."""
        for process in self.processes:
            assert process.stdin
            with contextlib.suppress(OSError):  # it may have died with a job unread
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def execute(self, next_job: NextJob, observe: Observe, wanted: Wanted) -> None:
        """Keep every worker busy until ``next_job`` has nothing and nothing wanted is running.

        Raises StoreError when a worker cannot write, and when a worker process dies. On an interrupt every
        running job writes its checkpoint first.
        """
        running: dict[int, str] = {}
        stopping: set[str] = set()
        try:
            while True:
                for index in range(len(self.processes)):
                    if index not in running and (job := next_job()) is not None:
                        running[index] = job.digest
                        self._send(index, job.to_text())
                        observe({"event": "started", "digest": job.digest})
                for index, digest in running.items():
                    if not wanted(digest) and digest not in stopping:
                        stopping.add(digest)
                        self._send(index, json.dumps({"stop": digest}))
                if not running:
                    return
                self._handle(self.events.get(), running, observe)
        except BaseException:
            self._stop_all(running)
            raise

    def _handle(self, message: tuple[int, dict[str, Any]], running: dict[int, str], observe: Observe) -> None:
        index, event = message
        if event["event"] == "died":
            doing = f"run {running.pop(index)}" if index in running else "no run"
            raise StoreError(f"worker {index} ended with code {event['code']} during {doing}; run again to go on")
        if event["event"] == "error":
            running.pop(index, None)
            raise ParibusError(event["message"])
        elif event["event"] != "ready":
            if event["event"] in ("finished", "stopped"):
                running.pop(index, None)
            observe(event)

    def _stop_all(self, running: dict[int, str]) -> None:
        """Ask for checkpoints and wait a little for them."""
        for index, digest in list(running.items()):
            self._send(index, json.dumps({"stop": digest}))
        while running:
            try:
                index, event = self.events.get(timeout=5)
            except (queue.Empty, KeyboardInterrupt):
                return
            if event["event"] in ("finished", "stopped", "died", "error"):
                running.pop(index, None)

    def _send(self, index: int, line: str) -> None:
        pipe = self.processes[index].stdin
        assert pipe
        try:
            pipe.write(f"{line}\n")
            pipe.flush()
        except BrokenPipeError:
            pass  # the listener reports that it died

    def _listen(self, index: int) -> None:
        process = self.processes[index]
        assert process.stdout
        for line in process.stdout:
            self.events.put((index, json.loads(line)))
        self.events.put((index, {"event": "died", "code": process.wait()}))
