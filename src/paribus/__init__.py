"""paribus, "all else equal": a laboratory for language-model architecture.

Every name below is imported when it is first used, so that ``import paribus`` needs neither torch nor scipy.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Arm": "study",
    "Metric": "study",
    "ParibusError": "errors",
    "Result": "lab",
    "Spec": "specs",
    "Study": "study",
    "Training": "study",
    "Tuning": "tuning",
    "VAL_ACCURACY": "study",
    "VAL_BITS_PER_BYTE": "study",
    "VAL_LOSS": "study",
    "calibrate": "calibration",
    "check": "lab",
    "judge": "lab",
    "report": "lab",
    "run": "lab",
    "spec": "specs",
    "status": "lab",
}
_ROOMS = ("data", "nn", "training")

__all__ = sorted([*_HOMES, *_ROOMS])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"paribus.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"paribus.{name}")
    raise AttributeError(f"module 'paribus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
