"""Where the time goes: in one step of the quick ``norm`` baseline, and in one whole ``paribus run norm``.

    python benchmarks/profile_run.py [--study norm] [--steps 20]

The step is taken apart by clocks and by torch.profiler, on one thread as in a worker. The whole run is a fresh process
in a fresh store, with clocks around functions of its process and of its workers. Seconds of workers are divided by
their number, so that the rows add up to what a user waits. Takes a few minutes on two quiet cores.
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
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import record

SHOWN = 12  # operators
WORKER = "paribus.execution.worker"

# What is measured in the process that the user starts: where it is called from, and the row it belongs to.
OF_PARENT = {
    ("paribus.lab.running", "read_request"): "reading the study",
    ("paribus.lab.running", "plan"): "planning and registration",
    ("paribus.lab.running", "plan_extra_runs"): "planning and registration",
    ("paribus.lab.matching", "solve_widths"): "design audit",
    ("paribus.audits", "audit_design"): "design audit",
    ("paribus.lab.running", "register"): "planning and registration",
    ("paribus.execution.processes", "LocalWorkers.__enter__"): "worker processes: start and end",
    ("paribus.execution.processes", "LocalWorkers.__exit__"): "worker processes: start and end",
    ("paribus.execution.processes", "LocalWorkers.execute"): "runs",
    ("paribus.lab.running", "audit_evidence"): "judging",
    ("paribus.reports", "render_report"): "report and figures",
}
# The same in a worker, within a run.
OF_WORKER = {
    ("paribus.execution.trained", "prepare_data"): "runs: reading the corpus",
    ("paribus.nn.contract", "build_model"): "runs: building models",
    ("paribus.execution.trained", "_count_flops"): "runs: counting operations",
    ("paribus.training.step", "accumulate_gradients"): "runs: forward and backward",
    ("paribus.training.step", "Stepper.apply_gradients"): "runs: optimizer",
    ("paribus.training.loop", "evaluate"): "runs: evaluation",
    ("paribus.training.loop", "save_checkpoint"): "runs: checkpoints",
    ("paribus.training.checkpoint", "save_weights"): "runs: checkpoints",
    ("paribus.training.trained_sites", "measure_sites"): "runs: health of every site",
}
AT_A_TERMINAL = {"FORCE_COLOR": "1"}  # the display draws its live table, as it does for a person
REST_OF_RUN = "runs: everything else in a run"
IDLE = "runs: workers that wait"
GIVEN_UP = "runs: given up when the verdict had fallen"
IMPORTS, ENDING, REST = "interpreter and imports", "end of the process", "everything else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="norm", help="a built-in study or a study file, run whole")
    parser.add_argument("--steps", type=int, default=20, help="steps of the baseline of norm that are timed")
    for hidden in ("--timed-step", "--timed-run", "--timed-worker"):
        parser.add_argument(hidden, metavar="FILE", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.timed_step:
        options.timed_step.write_text(json.dumps(take_step_apart(options.steps)))
    elif options.timed_run:
        run_with_clocks(options.study, options.timed_run)
    elif options.timed_worker:
        serve_with_clocks(options.timed_worker)
    else:
        step, whole = measure_step(options.steps), measure_run(options.study)
        print_tables(step, whole)
        record.save("profile_run", {**record.describe_machine(), "step": step, "run": whole})


def print_tables(step: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    parts = [(name, f"{1000 * s:.1f}", f"{100 * s / step['seconds']:.0f} %") for name, s in step["parts"].items()]
    record.print_table(f"One step, {1000 * step['seconds']:.0f} ms", ("part", "ms", "share"), parts)
    shares = [(name, f"{100 * share:.1f} %") for name, share in step["operators"].items()]
    record.print_table("The same step by operator", ("operator", "share"), shares)
    rows = [(name, f"{s:.2f}", f"{100 * s / whole['seconds']:.1f} %") for name, s in whole["parts"].items()]
    record.print_table(f"`paribus run {whole['study']}`, {whole['seconds']:.1f} s", ("where", "seconds", "share"), rows)


def measure_step(steps: int) -> dict[str, Any]:
    """``take_step_apart`` in a process with a worker's settings."""
    from paribus.execution.devices import local_slots

    (settings,) = local_slots("cpu", 1)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "step.json"
        command = [sys.executable, __file__, "--timed-step", str(answer), "--steps", str(steps)]
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        return json.loads(answer.read_text())


def take_step_apart(steps: int, warm_up: int = 3, profiled: int = 5) -> dict[str, Any]:
    """Median seconds of a step and its parts, and the share of every operator's own time."""
    import torch

    from paribus.design.study_files import read_study
    from paribus.execution.trained import prepare_data
    from paribus.nn import build_model, roles
    from paribus.training.step import accumulate_gradients, start_training

    torch.set_num_threads(1)
    study = read_study("norm").choose()
    recipe = study.training
    corpus, _ = prepare_data(study.data, recipe)
    model = build_model(study.baseline, 0, vocab_size=corpus.vocab_size, seq_len=recipe.seq_len)
    stepper = start_training(model, recipe, roles(model))
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step(number: int) -> list[float]:
        marks = [time.perf_counter()]
        inputs, targets = corpus.batch(0, number, recipe.batch_tokens, recipe.seq_len)
        marks.append(time.perf_counter())
        accumulate_gradients(model, torch.from_numpy(inputs), torch.from_numpy(targets), stepper.windows)
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip or float("inf"))
        marks.append(time.perf_counter())
        stepper.apply_gradients()
        marks.append(time.perf_counter())
        return [after - before for before, after in pairwise(marks)]

    timed = [step(number) for number in range(warm_up + steps)][warm_up:]
    names = ("batch", "forward and backward", "gradient norm", "optimizer")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for number in range(profiled):
            step(warm_up + steps + number)
    own = Counter({event.key: event.self_cpu_time_total for event in profiler.key_averages()})
    total = sum(own.values())
    operators = {name: seconds / total for name, seconds in own.most_common(SHOWN)}
    return {
        "tokens": recipe.batch_tokens,
        "threads": 1,
        "steps": steps,
        "seconds": statistics.median(map(sum, timed)),
        "parts": dict(zip(names, map(statistics.median, zip(*timed, strict=True)), strict=True)),
        "operators": {**operators, "all others": 1 - sum(operators.values())},
    }


def measure_run(study: str) -> dict[str, Any]:
    """Run ``study`` in a fresh store and say where its seconds went; the first preparation of its corpus apart."""
    prepare = (
        "from paribus.execution.trained import prepare_data; from paribus.lab.request import read_request; "
        f"study = read_request({study!r}, None, None).study; prepare_data(study.data, study.training)"
    )
    with tempfile.TemporaryDirectory() as folder:
        first_time = clock([sys.executable, "-c", prepare], {"PARIBUS_HOME": str(Path(folder) / "home")})
        again = clock([sys.executable, "-c", prepare], {"PARIBUS_HOME": str(Path(folder) / "home")})
        clock([sys.executable, "-c", prepare])  # the user's own cache, which the run reads
        answer = Path(folder) / "run.json"
        command = [sys.executable, __file__, "--timed-run", str(answer), "--study", study]
        seconds, ended = clock(command, AT_A_TERMINAL), time.time()
        told = json.loads(answer.read_text())
        workers = [json.loads(line) for file in Path(folder).glob("worker-*") for line in file.read_text().splitlines()]
    parts = Counter({IMPORTS: told["importing"], ENDING: ended - told["ending"], **told["parts"]})
    executing, n_workers = parts.pop("runs"), told["workers"]
    within = share_out(workers, n_workers)
    parts.update({**within, IDLE: executing - sum(within.values())})
    ended = [done for done in workers if done["ended"]]
    return {
        "study": study,
        "seconds": seconds,
        "workers": n_workers,
        "runs": len(ended),
        "given_up": len(workers) - len(ended),
        "preparing_seconds": first_time - again,
        "parts": {**dict(parts.most_common()), REST: seconds - sum(parts.values())},
    }


def share_out(runs: list[dict[str, Any]], n_workers: int) -> Counter[str]:
    """Seconds of all runs by row, divided by the workers."""
    rows: Counter[str] = Counter()
    for run in runs:
        if run["ended"]:
            rows.update({name: seconds / n_workers for name, seconds in run["parts"].items()})
            rows[REST_OF_RUN] += (run["seconds"] - sum(run["parts"].values())) / n_workers
        else:
            rows[GIVEN_UP] += run["seconds"] / n_workers
    return rows


def clock(command: list[str], variables: Mapping[str, str] | None = None) -> float:
    """Seconds of a whole process; what it prints is shown only where it fails."""
    began = time.perf_counter()
    environment = {**os.environ, **(variables or {}), "STARTED_AT": repr(time.time())}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
    return seconds


def run_with_clocks(study: str, answer: Path) -> None:
    """The command ``paribus run`` with clocks, in this process; workers leave theirs beside ``answer``."""
    parts: Counter[str] = Counter()
    from paribus.cli import commands as cli

    commands, start, importing, n_workers = cli.commands.main, subprocess.Popen, 0.0, 0

    def run_commands(**options: Any) -> Any:
        """Behind the entry point, which has something to set before torch is imported."""
        nonlocal importing
        put_clocks(OF_PARENT, parts)
        for read_by_every_run in ("paribus.experiment.tuner", "paribus.lab.progress"):
            import_module(read_by_every_run)
        importing = time.time() - float(os.environ["STARTED_AT"])
        from paribus.execution import processes as local

        with mock.patch.object(local.subprocess, "Popen", start_worker):
            return commands(**options)

    def start_worker(command: list[str], **options: Any) -> Any:
        nonlocal n_workers
        if WORKER in command:
            n_workers += 1
            command = [sys.executable, "-P", __file__, "--timed-worker", str(answer.with_name(f"worker-{n_workers}"))]
        return start(command, **options)

    with tempfile.TemporaryDirectory() as store:
        arguments = ["paribus", "run", study, "--store", store]
        with mock.patch.object(cli.commands, "main", run_commands), mock.patch.object(sys, "argv", arguments):
            try:
                cli.main()
            except SystemExit as error:
                code = error.code
        answer.write_text(
            json.dumps({"importing": importing, "ending": time.time(), "workers": n_workers, "parts": parts})
        )
    sys.exit(code)


def serve_with_clocks(log: Path) -> None:
    """The worker's process, which writes a line per run."""
    parts: Counter[str] = Counter()
    put_clocks(OF_WORKER, parts)
    worker = import_module(WORKER)
    perform = worker.perform

    def timed(*arguments: Any) -> Any:
        parts.clear()
        began, ended = time.perf_counter(), False
        try:
            done = perform(*arguments)
            ended = True
            return done
        finally:
            line = {"ended": ended, "seconds": time.perf_counter() - began, "parts": parts}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")

    worker.perform = timed
    worker.serve()


def put_clocks(places: Mapping[tuple[str, str], str], parts: Counter[str]) -> None:
    """Make every function of ``places`` add its seconds to its row, less those of other such functions within it."""
    inner = [0.0]

    def put(owner: Any, name: str, row: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds = time.perf_counter() - began
                parts[row] += seconds - inner.pop()
                inner[-1] += seconds

        setattr(owner, name, timed)

    for (module, path), row in places.items():
        *owners, name = path.split(".")
        owner = import_module(module)
        for attribute in owners:
            owner = getattr(owner, attribute)
        put(owner, name, row)


if __name__ == "__main__":
    main()
