"""Which device a study runs on, and the worker processes it gets there."""

from __future__ import annotations

import itertools
import os

from paribus.errors import StudyError

_CPU_ENVIRONMENT = {
    # One thread a worker: two busy thread pools on the same cores spin against each other.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Keep freed memory instead of giving it back to the system and faulting it in again every step.
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
}


def local_slots(device: str, n_runs: int, count: int | None = None) -> list[dict[str, str]]:
    """One worker per GPU; on a CPU one single-thread worker per core, ``n_runs`` at most; ``count`` says otherwise.

    More workers than GPUs share them in turn; whether a GPU's memory is enough for its workers is not asked.
    """
    if device == "cuda":
        import torch

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
        takers = list(itertools.islice(itertools.cycle(names), min(count or len(names), n_runs)))
        beside = _CPU_ENVIRONMENT if len(takers) > len(names) else {}
        return [{"CUDA_VISIBLE_DEVICES": name, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **beside} for name in takers]
    if device == "mps":
        return [{}]
    return [dict(_CPU_ENVIRONMENT) for _ in range(min(count or usable_cores(), n_runs))]


def usable_cores() -> int:
    """Cores this process may use; macOS has no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(asked: str | None = None) -> str:
    """What was ``asked`` for, or else "cuda" where there is one and "cpu" where not; "mps" only when asked for.

    Raises StudyError where the machine does not have it.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked is None:
        return "cuda" if there["cuda"] else "cpu"
    if not there[asked]:
        raise StudyError(f"this machine has no {asked} device; it has {', '.join(n for n in there if there[n])}")
    return asked
