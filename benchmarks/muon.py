"""One step of paribus's Muon against one of torch's, on the matrices of the quick scale, one thread.

    python benchmarks/muon.py [--rounds 10]

Rounds are interleaved; the table shows medians in milliseconds. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import date
from pathlib import Path

import torch

from paribus.design.study_files import read_study
from paribus.nn import build_model, roles
from paribus.training.optim import Muon

RESULTS = Path(__file__).parent / "results" / "muon.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    optimizers = {"torch.optim.Muon": torch.optim.Muon, "paribus Muon": Muon}
    steppers = {name: make_stepper(cls) for name, cls in optimizers.items()}
    times: dict[str, list[float]] = {name: [] for name in steppers}
    for round_number in range(options.rounds + 2):
        for name, step in steppers.items():
            began = time.perf_counter()
            step()
            if round_number >= 2:
                times[name].append(1e3 * (time.perf_counter() - began))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<18} {median:8.1f} ms")
    theirs, ours = medians.values()
    print(f"ratio: {theirs / ours:.1f}")
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__}
    stored = {**machine, "date": str(date.today()), "milliseconds": medians, "ratio": theirs / ours}
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n")


def make_stepper(cls: type[torch.optim.Optimizer]):
    """A step of ``cls`` on the matrices of the baseline of ``norm``, with random gradients."""
    model = build_model(read_study("norm").choose().baseline, 0, vocab_size=1024, seq_len=128)
    role_of = roles(model)
    matrices = [p for name, p in model.named_parameters() if role_of[name] == "matrix"]
    for p in matrices:
        p.grad = torch.randn_like(p)
    return cls(matrices, lr=0.02).step


if __name__ == "__main__":
    main()
