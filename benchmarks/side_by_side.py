"""Runs side by side on this machine: what workers gain, what they waste, what a run waits for, what is not run twice.

    python benchmarks/side_by_side.py [--rounds 3] [--runs 40]

Measured through the executor of ``paribus run``: single-thread workers against one process on all cores; the makespan
of many short runs against the ideal; from the start of a process to its first step; evaluation's share of a run; and
the runs that a second study with the same baseline trains. Takes a few minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import record

import paribus as pb
from paribus.design.study import BASELINE
from paribus.design.study_files import built_in_studies, read_study
from paribus.execution.devices import local_slots
from paribus.execution.processes import LocalWorkers
from paribus.execution.trained import prepare_data
from paribus.experiment.job import Job, make_job
from paribus.experiment.plan import Environment, plan
from paribus.store.store import Store

COLUMNS = ("what", "measured", "target")
SECOND_STUDY = '''
import paribus as pb
from torch import nn

from paribus.design.study_files import read_study


class GainlessNorm(nn.Module):
    """LayerNorm without its gain and bias."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return nn.functional.layer_norm(x, (self.dim,))


norm = read_study("norm").choose()
study = pb.Study(
    question="Does a norm need a gain?",
    baseline=norm.baseline,
    treatments={"gainless": norm.baseline.replace("*norm", pb.spec(GainlessNorm))},
    changes={"gainless": ("*norm",)},
    data=norm.data,
    training=norm.training.replace(tokens=TOKENS, evaluations=1),
    margin=norm.margin,
    max_seeds=3,
    extra_rates=(),
)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of threads against workers, and of start-up")
    parser.add_argument("--runs", type=int, default=40, help="short runs of the makespan")
    parser.add_argument("--train-on", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train_on:
        print(json.dumps(train(options.train_on)))
        return
    parts = {
        "layouts": partial(compare_layouts, options.rounds),
        "makespan": partial(measure_makespan, options.runs),
        "startup": partial(measure_startup, options.rounds),
        "evaluation": measure_evaluation,
        "reuse": count_trained_runs,
    }
    measured = {}
    for name, measure in parts.items():
        measured[name] = measure()
        print(name, json.dumps(measured[name]), file=sys.stderr, flush=True)
    rows = make_rows(measured)
    record.print_table("Runs side by side", COLUMNS, rows)
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    record.save("side_by_side", {**record.describe_machine(), "rows": table, **measured})


def make_rows(measured: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the tables show: what was measured, the number, and what issue 6 asks for."""
    layouts, makespan, startup = (measured[name] for name in ("layouts", "makespan", "startup"))
    cores, evaluation = layouts["cores"], measured["evaluation"]
    shares: dict[str, list[str]] = {}  # of the run that several studies share: once
    for study, row in sorted(evaluation.items(), key=lambda of_study: -of_study[1]["share"]):
        shares.setdefault(f"{100 * row['share']:.1f} %", []).append(study)
    first, second = (", ".join(f"{n} {arm}" for arm, n in runs.items()) for runs in measured["reuse"]["trained"])
    return [
        (
            f"{cores} workers with one thread, times one process with {cores} threads, tokens/s",
            f"{layouts['ratio']:.2f}",
            "measure and choose",
        ),
        (
            f"{makespan['runs']} runs of {makespan['run_seconds']:.1f} s on {makespan['workers']} workers, "
            "times the ideal",
            f"{makespan['ratio']:.3f}",
            "<= 1.05",
        ),
        ("start of a worker process to its first step, s", f"{startup['first_seconds']:.2f}", "<= 3"),
        ("the next run of that worker to its first step, s", f"{startup['next_seconds']:.2f}", "<= 3"),
        *((f"evaluation's share of a run: {', '.join(names)}", share, "<= 10 %") for share, names in shares.items()),
        ("runs that a study trains in an empty store", first, ""),
        ("runs that another study with its baseline trains then", second, "treatments only"),
    ]


def compare_layouts(rounds: int) -> dict[str, Any]:
    """Tokens per second of the whole machine at the quick scale of ``norm``, in interleaved rounds."""
    cores = len(local_slots("cpu", 10_000))
    layouts = {"one process": [cores], "workers": [1] * cores}
    rates: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in range(rounds):
        for name, threads in layouts.items():
            rates[name].append(train_at_once(threads))
    one, many = (statistics.median(values) for values in rates.values())
    return {"cores": cores, "tokens_per_second": rates, "ratio": many / one}


def train_at_once(threads: Sequence[int]) -> float:
    """Tokens per second of processes that train at the same time, with the settings of a worker but for its threads.

    A process with several threads is alone: they wait as the system would have it.
    """
    (settings,) = local_slots("cpu", 1)
    environment = {**os.environ, **settings}
    if len(threads) == 1:
        environment.pop("OMP_WAIT_POLICY", None)
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--train-on", str(n)],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "OMP_NUM_THREADS": str(n), "MKL_NUM_THREADS": str(n)},
        )
        for n in threads
    ]
    return sum(json.loads(process.communicate()[0]) for process in started)


def train(threads: int, steps: int = 20, warm_up: int = 3) -> float:
    """Tokens per second of this process, warm-up dropped."""
    import torch

    from paribus.nn import build_model, roles
    from paribus.training.step import start_training

    torch.set_num_threads(threads)
    study = read_study("norm").choose()
    recipe = study.training
    model = build_model(study.baseline, 0, vocab_size=1024, seq_len=recipe.seq_len)
    stepper = start_training(model, recipe, roles(model))
    tokens = torch.randint(1024, (recipe.batch_tokens // recipe.seq_len, recipe.seq_len))
    for step in range(warm_up + steps):
        if step == warm_up:
            began = time.perf_counter()
        stepper.compute_gradients(tokens, tokens)
        stepper.apply_gradients()
    return steps * recipe.batch_tokens / (time.perf_counter() - began)


def measure_makespan(n_runs: int) -> dict[str, Any]:
    """Wall time of ``n_runs`` short runs against the sum of their own, shared evenly; the workers are up before."""
    tiny = pb.nn.llama(d_model=48, n_layers=2, n_heads=2, norm=pb.spec(pb.nn.LayerNorm))
    recipe = read_study("norm").choose().training
    short = recipe.replace(tokens=50 * 1024, batch_tokens=1024, evaluations=1, evaluation_tokens=8192)
    study = read_study("norm").choose().replace(
        baseline=tiny, treatments={"RMSNorm": tiny.replace("*norm", pb.spec(pb.nn.RMSNorm))}, training=short,
        max_seeds=20,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder)
        jobs = make_jobs(study, store)[:n_runs]
        began = time.perf_counter()
        with LocalWorkers(local_slots("cpu", n_runs)) as workers:
            for _ in workers.slots:
                workers.events.get()  # "ready"
            startup = time.perf_counter() - began
            began = time.perf_counter()
            execute(workers, jobs)
            makespan = time.perf_counter() - began
        seconds = [own_seconds(store, job) for job in jobs]
        trained = [store.read_record(job.digest).measured["training_seconds"] for job in jobs]
    ideal = sum(seconds) / len(workers.slots)
    return {
        "runs": len(jobs),
        "workers": len(workers.slots),
        "ready_seconds": startup,
        "makespan_seconds": makespan,
        "ideal_seconds": ideal,
        "ratio": makespan / ideal,
        "run_seconds": statistics.median(seconds),
        "training_seconds": statistics.median(trained),
    }


def measure_startup(rounds: int) -> dict[str, Any]:
    """Seconds to a run's first step, all workers starting at once; the untrained model is scored before that step."""
    study = read_study("norm").choose()
    recipe = study.training
    study = study.replace(training=recipe.replace(tokens=2 * recipe.batch_tokens, evaluations=1))
    first, following, scoring = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(folder)
            slots = local_slots("cpu", 10_000)
            jobs = make_jobs(study, store)[: 2 * len(slots)]
            sent: dict[str, float] = {}
            began_step: dict[str, float] = {}

            def observe(event: Mapping[str, Any], sent: Any = sent, began_step: Any = began_step) -> None:
                if event["event"] == "started":
                    sent[event["digest"]] = time.perf_counter()
                elif event["event"] == "progress" and event["line"]["step"] == 1:
                    began_step[event["digest"]] = time.perf_counter() - event["line"]["measured"]["seconds"]

            began = time.perf_counter()
            with LocalWorkers(slots) as workers:
                execute(workers, jobs, observe)
            in_order = list(sent)
            first += [began_step[digest] - began for digest in in_order[: len(slots)]]
            following += [began_step[digest] - sent[digest] for digest in in_order[len(slots) :]]
            scoring += [store.read_record(job.digest).evaluations[0]["measured"]["seconds"] for job in jobs]
    return {
        "workers": len(slots),
        "first_seconds": statistics.median(first),
        "next_seconds": statistics.median(following),
        "evaluation_seconds": statistics.median(scoring),
        "first": first,
        "next": following,
    }


def measure_evaluation() -> dict[str, Any]:
    """One run of every built-in study's baseline at the quick scale: its seconds, and those of its evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder)
        of_study = {name: make_jobs(read_study(name).choose(), store)[0] for name in built_in_studies()}
        jobs = list({job.digest: job for job in of_study.values()}.values())  # some studies share their baseline
        with LocalWorkers(local_slots("cpu", len(jobs))) as workers:
            execute(workers, jobs)
        rows = {}
        for name, job in of_study.items():
            seconds, own = own_seconds(store, job), store.read_record(job.digest)
            scored = own.measured["evaluation_seconds"]
            rows[name] = {
                "evaluations": len(own.evaluations),
                "seconds": seconds,
                "training_seconds": own.measured["training_seconds"],
                "evaluation_seconds": scored,
                "share": scored / seconds,
            }
    return rows


def count_trained_runs() -> dict[str, Any]:
    """Runs by arm of ``norm``, and of a study of a user's own with its baseline in the same store.

    Three pairs of ten steps each: how many runs there are does not depend on their length.
    """
    norm = read_study("norm").choose()
    training = norm.training.replace(tokens=10 * norm.training.batch_tokens, evaluations=1)
    short = {"training": training, "max_seeds": 3, "extra_rates": ()}
    trained = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gainless.py"
        file.write_text(SECOND_STUDY.replace("TOKENS", str(training.tokens)))
        for study in (norm.replace(**short), file):
            runs: Counter[str] = Counter({BASELINE: 0})

            def observe(event: Mapping[str, Any], runs: Counter[str] = runs) -> None:
                if event["event"] == "finished":
                    runs[event["arm"]] += 1

            pb.run(study, Path(folder) / "store", observe=observe)
            trained.append(dict(runs))
    return {"steps": training.steps, "trained": trained}


def make_jobs(study: pb.Study, store: Store) -> list[Job]:
    """All jobs of ``study``, seed by seed, the baseline first."""
    corpus, _ = prepare_data(study.data, study.training)
    made = plan(study, Environment.here(corpus.digest, "cpu"))
    return [make_job(store, made, run, study.arms[run.arm], None) for run in made]


def execute(workers: LocalWorkers, jobs: Sequence[Job], observe: Any = lambda event: None) -> None:
    waiting = iter(jobs)
    workers.execute(lambda: next(waiting, None), observe, lambda digest: True)


def own_seconds(store: Store, job: Job) -> float:
    """From the first file that a run writes to its last, the record."""
    folder = Path(store.address) / "runs" / job.digest
    return (folder / "result.json").stat().st_mtime - (folder / "run.json").stat().st_mtime


if __name__ == "__main__":
    main()
