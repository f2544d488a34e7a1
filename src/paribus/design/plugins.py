"""What installed packages offer through entry points, by group."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from paribus.design.wording import shorten_error, suggest
from paribus.errors import StudyError

STUDIES = "paribus.studies"
PARTS = "paribus.parts"
EXECUTORS = "paribus.executors"
PERFORMERS = "paribus.performers"


@dataclass(frozen=True)
class Offer:
    """An entry point: ``package`` offers what lies at ``value``, such as ``"my_pkg.norms:ScaleNorm"``, as ``name``."""

    name: str
    value: str
    package: str

    @property
    def module(self) -> str:
        return self.value.partition(":")[0].strip()

    @property
    def attribute(self) -> str:
        """What is meant in the module; "" for the module itself."""
        return self.value.partition(":")[2].strip()


@dataclass(frozen=True)
class Fault:
    """What is wrong with an offer, in one sentence."""

    offer: Offer
    message: str

    def __str__(self) -> str:
        return f"{self.offer.package} offers {self.offer.name!r} as {self.offer.value}: {self.message}"


def list_offers(group: str) -> tuple[Offer, ...]:
    """The entry points of ``group``, by name and package. Imports none of them."""
    offers = {
        Offer(point.name, point.value, point.dist.name if point.dist else "") for point in entry_points(group=group)
    }
    return tuple(sorted(offers, key=lambda offer: (offer.name, offer.package, offer.value)))


def import_offered(offer: Offer) -> ModuleType:
    """Import the module of ``offer``: it is code. Raises ImportError for whatever the module raises, from it."""
    try:
        return importlib.import_module(offer.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a package that exits when imported must not end the list of the others
        raise ImportError(f"it cannot be imported: {shorten_error(error)}") from error


def find_offered(group: str, kind: str, name: str, known: Iterable[str]) -> tuple[Offer, Callable[..., Any]]:
    """The offer called ``name`` in ``group``, and the function or class that it names, imported.

    Args:
        kind: what the group offers, for messages.
        known: names that paribus has itself.

    Raises StudyError for a name that no package offers, or more than one, and for what cannot be imported or called.
    """
    offers = list_offers(group)
    named = [offer for offer in offers if offer.name == name]
    if not named:
        raise StudyError(f"no {kind} {name!r}; {suggest(name, [*known, *(offer.name for offer in offers)])}")
    if len(named) > 1:
        packages = ", ".join(offer.package for offer in named)
        raise StudyError(f"{kind} {name!r} is offered by more than one package: {packages}; keep one of them installed")
    (offer,) = named
    try:
        thing = getattr(import_offered(offer), offer.attribute, None)
    except ImportError as error:
        raise StudyError(str(Fault(offer, str(error)))) from error
    if not callable(thing):
        at = f"has no function {offer.attribute!r}" if offer.attribute else "is a module; name a function, module:NAME"
        raise StudyError(str(Fault(offer, f"{offer.module} {at}")))
    return offer, thing
