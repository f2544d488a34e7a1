"""Executors by name: those of paribus, and those that installed packages offer.

A new one is a class with the methods of ``experiment.executor.Executor`` in a file of its own here, and a line in
``OWN``; one of another package needs no edit, see docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from paribus.design.plugins import EXECUTORS, Fault, find_offered
from paribus.design.wording import shorten_error
from paribus.errors import ParibusError, StudyError
from paribus.execution.inline import InThisProcess
from paribus.execution.processes import start_workers
from paribus.experiment.executor import Executor, Resources

OWN: dict[str, Callable[[Resources], Executor]] = {"inline": InThisProcess, "local": start_workers}


def find_executor(executor: str | Executor, resources: Resources) -> Executor:
    """``executor`` itself, or the one of that name, made for ``resources``.

    Raises StudyError for a name that no package offers, or more than one, for an offer that cannot be imported or makes
    no executor, and for an object that is none.
    """
    if not isinstance(executor, str):
        return _require_executor(executor, f"executor must be a name or an Executor, got {executor!r}")
    if executor in OWN:
        return OWN[executor](resources)
    offer, make = find_offered(EXECUTORS, "executor", executor, OWN)
    try:
        made = make(resources)
    except Exception as error:  # another package's code: whatever it raises, a user is shown whose it is
        raise StudyError(str(Fault(offer, f"it cannot be made: {shorten_error(error)}"))) from error
    return _require_executor(made, str(Fault(offer, f"it makes {made!r}, which is not an Executor")))


@contextmanager
def started(executor: Executor) -> Iterator[Executor]:
    """Hold ``executor`` while it works. Raises StudyError where it does not start."""
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(executor)
        except ParibusError:
            raise
        except Exception as error:
            raise StudyError(f"executor {type(executor).__name__} does not start: {shorten_error(error)}") from error
        yield entered


def _require_executor(executor: Executor, message: str) -> Executor:
    if not isinstance(executor, Executor):
        raise StudyError(f"{message}; it has sees_main, execute(next_job, observe, wanted), __enter__ and __exit__")
    return executor
