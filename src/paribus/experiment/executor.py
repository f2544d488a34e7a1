"""What does the jobs of a study: jobs in, events out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from paribus.experiment.job import Job
from paribus.store.events import Observe

NextJob = Callable[[], Job | None]
"""The next job that is to be done, None where there is none at the moment: ask again after an event."""

Wanted = Callable[[str], bool]
"""Whether the run of a digest can still matter."""


@runtime_checkable
class Executor(Protocol):
    """Does jobs, here or elsewhere: pass one to ``run``, or offer what makes one in the group ``paribus.executors``.

    It is entered before the study is planned and left when its runs are done: workers may start in ``__enter__``.

    Args:
        sees_main: whether it finds classes that were defined in ``__main__``, such as a notebook's.
    """

    @property
    def sees_main(self) -> bool: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def execute(self, next_job: NextJob, observe: Observe, wanted: Wanted) -> None:
        """Do jobs until ``next_job`` has none and none is running.

        Each job is done by ``paribus.execution.performing.perform(Job.from_text(text))``, where ``text`` is
        ``job.to_text()``: a worker needs nothing else. ``observe`` is called by the thread that called this, with
        ``{"event": ...}``: "started", "progress" (with ``line``), "finished" (with ``status``) and "stopped", each with
        the ``digest`` of the job. A running job that is no longer ``wanted`` is stopped where that can be done.
        """
        ...


@dataclass(frozen=True)
class Resources:
    """What an executor that is named, not passed, is made for.

    Args:
        device: "cpu", "cuda" or "mps".
        n_runs: the most runs that the study may need.
        workers: how many runs at a time; None: as many as the machine has room for.
    """

    device: str
    n_runs: int
    workers: int | None = None
