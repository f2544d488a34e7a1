"""What installed packages offer through entry points, by group."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType

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
        said = str(error).strip()
        first = f"{type(error).__name__}: {said.splitlines()[0]}" if said else type(error).__name__
        raise ImportError(f"it cannot be imported: {first}") from error
