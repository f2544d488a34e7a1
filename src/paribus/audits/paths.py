"""Which site of a spec a path belongs to, and which paths lie under which. No torch."""

from __future__ import annotations

from paribus.specs import Spec


def site_of(path: str, spec: Spec) -> str:
    """The innermost site of ``spec`` at or above ``path``; "" is the model itself."""
    sites = spec.sites()
    while path and path not in sites:
        path = path.rpartition(".")[0]
    return path


def lies_under(path: str, site: str) -> bool:
    """Whether ``path`` is ``site`` or below it; all is below "", the model."""
    return not site or path == site or path.startswith(f"{site}.")
