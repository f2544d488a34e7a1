"""Executors by name: those of paribus, and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Callable

from paribus.design.plugins import EXECUTORS, Fault, Offer, import_offered, list_offers
from paribus.design.wording import suggest
from paribus.errors import StudyError
from paribus.execution.inline import InThisProcess
from paribus.execution.processes import start_workers
from paribus.experiment.executor import Executor, Resources

MakeExecutor = Callable[[Resources], Executor]

OWN: dict[str, MakeExecutor] = {"inline": InThisProcess, "local": start_workers}


def find_executor(executor: str | Executor, resources: Resources) -> Executor:
    """``executor`` itself, or the one of that name, made for ``resources``.

    Raises StudyError for a name that nobody, or more than one package, offers, for an offer that cannot be imported or
    makes no executor, and for an object that is none.
    """
    if not isinstance(executor, str):
        return _require_executor(executor, f"executor must be a name or an Executor, got {executor!r}")
    if executor in OWN:
        return OWN[executor](resources)
    offers = [offer for offer in list_offers(EXECUTORS) if offer.name not in OWN]
    named = [offer for offer in offers if offer.name == executor]
    if len(named) > 1:
        packages = ", ".join(offer.package for offer in named)
        raise StudyError(f"executor {executor!r} is offered by {packages}: pass the one that is meant as an object")
    if not named:
        raise StudyError(f"no executor {executor!r}; {suggest(executor, [*OWN, *(offer.name for offer in offers)])}")
    made = _import_maker(named[0])(resources)
    return _require_executor(made, str(Fault(named[0], f"it makes {made!r}, which is not an Executor")))


def _import_maker(offer: Offer) -> MakeExecutor:
    try:
        maker = getattr(import_offered(offer), offer.attribute, None)
    except ImportError as error:
        raise StudyError(str(Fault(offer, str(error)))) from error
    if not callable(maker):
        raise StudyError(
            str(Fault(offer, f"{offer.module} has no function {offer.attribute!r} that makes an Executor"))
        )
    return maker


def _require_executor(executor: Executor, message: str) -> Executor:
    if not isinstance(executor, Executor):
        raise StudyError(f"{message}; it has sees_main, execute(next_job, observe, wanted), __enter__ and __exit__")
    return executor
