"""paribus, "all else equal": a laboratory for language-model architecture.

Every name below is imported when it is first used, so that ``import paribus`` needs neither torch nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Arm": "study",
    "Metric": "metrics",
    "ParibusError": "errors",
    "Result": "result",
    "Spec": "specs",
    "Study": "study",
    "Training": "study",
    "Tuning": "tuning",
    "VAL_ACCURACY": "metrics",
    "VAL_BITS_PER_BYTE": "metrics",
    "VAL_LOSS": "metrics",
    "calibrate": "calibration",
    "check": "lab",
    "draft": "ideas",
    "examine": "ideas",
    "factorial": "factorials",
    "judge": "lab",
    "list_parts": "listing",
    "list_studies": "listing",
    "report": "lab",
    "run": "lab",
    "sample": "sampling",
    "spec": "specs",
    "status": "lab",
}
_ROOMS = ("data", "nn", "training")

__all__ = sorted([*_HOMES, *_ROOMS])


if TYPE_CHECKING:  # what a type checker sees in place of __getattr__; a test holds it equal to _HOMES
    from paribus import data as data
    from paribus import nn as nn
    from paribus import training as training
    from paribus.calibration import calibrate as calibrate
    from paribus.errors import ParibusError as ParibusError
    from paribus.factorials import factorial as factorial
    from paribus.ideas import draft as draft
    from paribus.ideas import examine as examine
    from paribus.lab import check as check
    from paribus.lab import judge as judge
    from paribus.lab import report as report
    from paribus.lab import run as run
    from paribus.lab import status as status
    from paribus.listing import list_parts as list_parts
    from paribus.listing import list_studies as list_studies
    from paribus.metrics import VAL_ACCURACY as VAL_ACCURACY
    from paribus.metrics import VAL_BITS_PER_BYTE as VAL_BITS_PER_BYTE
    from paribus.metrics import VAL_LOSS as VAL_LOSS
    from paribus.metrics import Metric as Metric
    from paribus.result import Result as Result
    from paribus.sampling import sample as sample
    from paribus.specs import Spec as Spec
    from paribus.specs import spec as spec
    from paribus.study import Arm as Arm
    from paribus.study import Study as Study
    from paribus.study import Training as Training
    from paribus.tuning import Tuning as Tuning
else:

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"paribus.{_HOMES[name]}"), name)
        if name in _ROOMS:
            return import_module(f"paribus.{name}")
        raise AttributeError(f"module 'paribus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
