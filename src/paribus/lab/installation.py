"""`paribus --version --verbose`: what is installed, and where it works."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from paribus.store.store import DEFAULT_STORE


@dataclass(frozen=True)
class Installation:
    """Versions, devices and places.

    Args:
        threads: that torch uses in this process; a worker on a CPU has one.
        cache: where prepared corpora are kept.
        store: where runs are kept unless ``--store`` names another folder.
    """

    paribus: str
    torch: str
    python: str
    devices: tuple[str, ...]
    threads: int
    cache: Path
    store: Path

    def __str__(self) -> str:
        rows = {
            "paribus": self.paribus,
            "torch": self.torch,
            "Python": self.python,
            "devices": ", ".join(self.devices),
            "threads": self.threads,
            "cache": self.cache,
            "store": self.store,
        }
        return "\n".join(f"{name:<8} {value}" for name, value in rows.items())


def read_installation() -> Installation:
    """The installation of this process. Imports torch, and asks it for its devices."""
    import torch

    from paribus.data.preparation import cache_folder
    from paribus.execution.devices import usable_cores

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return Installation(
        paribus=version("paribus"),
        torch=torch.__version__,
        python=platform.python_version(),
        devices=(f"cpu ({usable_cores()} cores)", *(f"cuda:{i} ({name})" for i, name in enumerate(gpus)), *mps),
        threads=torch.get_num_threads(),
        cache=cache_folder(),
        store=Path(DEFAULT_STORE).resolve(),
    )
