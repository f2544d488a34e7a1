"""Two single-thread runs side by side against one run on two threads, at the quick scale of the study `norm`.

    python benchmarks/threads.py [--steps 20] [--rounds 3]

Rounds are interleaved; the table shows medians of tokens per second of the whole machine. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "threads.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(train(options.worker, options.steps)))
        return
    cores = os.cpu_count() or 1
    layouts = {f"1 process x {cores} threads": [cores], f"{cores} processes x 1 thread": [1] * cores}
    rates: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in range(options.rounds):
        for name, threads in layouts.items():
            rates[name].append(measure(threads, options.steps))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:<26} {median:10,.0f} tokens/s  (rounds: {', '.join(f'{r:,.0f}' for r in rates[name])})")
    one, many = medians.values()
    print(f"side by side / one run: {many / one:.2f}")
    machine = {"machine": f"{platform.machine()}, {cores} cores", "date": str(date.today())}
    RESULTS.write_text(json.dumps({**machine, "tokens_per_second": rates, "ratio": many / one}, indent=1) + "\n")


def measure(threads: list[int], steps: int) -> float:
    """Tokens per second of processes that train at the same time."""
    command = [sys.executable, __file__, "--steps", str(steps), "--worker"]
    started = [
        subprocess.Popen(
            [*command, str(n)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(n), "OMP_WAIT_POLICY": "PASSIVE"},
        )
        for n in threads
    ]
    return sum(json.loads(process.communicate()[0]) for process in started)


def train(threads: int, steps: int) -> float:
    """Tokens per second of one process, warm-up dropped."""
    import torch

    from paribus.nn import build_model, roles
    from paribus.study_files import read_study
    from paribus.training.loop import model_loss
    from paribus.training.optim import build_optimizer

    torch.set_num_threads(threads)
    study = read_study("norm").choose()
    training = study.training
    model = build_model(study.baseline, 0, vocab_size=1024, seq_len=training.seq_len)
    optimizer = build_optimizer(training.optimizer, model, roles(model))
    tokens = torch.randint(1024, (training.batch_tokens // training.seq_len, training.seq_len))
    for step in range(steps + 3):
        if step == 3:
            began = time.perf_counter()
        model_loss(model, tokens, tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    return steps * training.batch_tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
