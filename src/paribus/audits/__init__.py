"""From specs and records to findings: what could make a comparison unfair, before training and after it."""

from importlib import import_module
from typing import Any

# Nothing here imports torch until a check before training is asked for: reports are made without it.
_HOMES = {
    "ArmFacts": "matching",
    "CHECKS": "catalogue",
    "Check": "checks",
    "Difference": "difference",
    "audit_arms": "design",
    "audit_design": "design",
    "audit_records": "outcome",
    "audit_times": "times",
    "audit_trials": "sensitivity",
    "compare_specs": "difference",
    "find_odd_schedules": "recipe",
    "measure_arms": "matching",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
